"""DC-ASGD, delay-compensated asynchronous SGD: stale gradients are corrected to the present center, to first order.

    g̃ = g + Λ ⊙ g ⊙ g ⊙ (θ̃ − pᵏ),   θ̃ ← θ̃ + U(θ̃, g̃),   θᵏ ← θ̃

    constant:   Λ = Λ₀
    adaptive:   v ← m v + (1 − m) g²,   Λ = Λ₀ / √(v + ε)

g is the worker's gradient at pᵏ, the center it pulled, or with a window of λ > 1 the mean gradient of λ batches there.
g ⊙ g stands for the diagonal of the Hessian.

Source: S. Zheng et al., "Asynchronous Stochastic Gradient Descent with Delay Compensation", 2017 (arXiv:1609.08326).
Differences: the local optimizer (`local=`) runs at the server on the compensated gradient; the paper's is plain SGD.
MXNet remembers one earlier center for all workers, which compensates a single step; Multiverso keeps one v per worker.
"""

import jax
import jax.numpy as jnp
import optax

from distopt.optimizers.parts import GRADIENT
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, State, Update
from distopt.settings import require_flag, require_number


def dcasgd(
    *, local: optax.GradientTransformation, compensation: float, adaptive: bool, decay: float, eps: float
) -> DistributedOptimizer:
    """Build DC-ASGD.

    Args:
        local: the configured local optimizer, here applied by the server to the compensated gradient.
        compensation: Λ₀ ≥ 0; 0 gives asynchronous SGD.
        adaptive: divide Λ₀ by the gradients' root mean square.
        decay: 0 ≤ m < 1 of that mean square.
        eps: ε > 0 under the root.
    """
    require_number("compensation", compensation, positive=False)
    require_number("decay", decay, positive=False, most=1, below=True)
    require_number("eps", eps)
    require_flag("adaptive", adaptive)

    def init(center: Params, workers: int) -> State:
        del workers
        return local.init(center), jax.tree.map(jnp.zeros_like, center) if adaptive else ()

    def update(commits: Commits, state: State, center: Params) -> Update:
        optimizer, square = state
        if adaptive:
            square = jax.tree.map(
                lambda v, g: decay * v + (1 - decay) * jnp.mean(g**2, axis=0), square, commits.message
            )
            strength = jax.tree.map(lambda v: compensation / jnp.sqrt(v + eps), square)
        else:
            strength = jax.tree.map(lambda c: compensation, center)
        gradient = jax.tree.map(
            lambda g, c, p, s: jnp.mean(g + s * g**2 * (c - p), axis=0),
            commits.message, center, commits.pulled, strength,
        )  # fmt: skip
        step, optimizer = local.update(gradient, optimizer, center)
        return Update(optax.apply_updates(center, step), (optimizer, square))

    return DistributedOptimizer(GRADIENT, ServerRule(init, update))
