"""DANA-Slim: every worker has its own Nesterov momentum and looks ahead to where all momenta lead the center.

    vᵏ ← μ vᵏ + gᵏ,   uᵏ = gᵏ + μ vᵏ,   θ̃ ← θ̃ + U(θ̃, uᵏ),   θᵏ ← θ̃      with U(u) = −η u for local SGD

θ̃ is the point that all workers' momenta together lead to, so that the server needs no memory. gᵏ is the worker's
gradient at the center it pulled; with a window of λ > 1 it is the mean over λ batches there. One worker gives SGD with
Nesterov momentum; μ = 0 gives asynchronous SGD.

Source: I. Hakimi, S. Barkai, M. Gabel, A. Schuster, "Taming Momentum in a Distributed Asynchronous Environment", 2019
(arXiv:1907.11612).
Differences: the local optimizer (`local=`) runs at the server on uᵏ; the paper's is plain SGD. DANA-Zero, which keeps
the velocities at the server and replies with the point ahead, and DANA-DC, which adds the correction of `dcasgd`, are
left out. With `cluster.failures` a worker that lost its window starts over with vᵏ = 0.
"""

import jax
import jax.numpy as jnp
import optax

from distopt.optimizers.parts import GRADIENT, additive, commit_gradient
from distopt.rules import DistributedOptimizer, Message, Params, State, Window
from distopt.settings import require_number


def dana(*, local: optax.GradientTransformation, momentum: float) -> DistributedOptimizer:
    """Build DANA-Slim.

    Args:
        local: the configured local optimizer, here applied by the server to uᵏ.
        momentum: 0 ≤ μ < 1 of every worker.
    """
    require_number("momentum", momentum, positive=False, most=1, below=True)

    def init(params: Params) -> State:
        return jax.tree.map(jnp.zeros_like, params)

    def commit(window: Window, velocity: State) -> tuple[Message, State]:
        gradient, _ = commit_gradient(window, ())
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
        return jax.tree.map(lambda g, v: g + momentum * v, gradient, velocity), velocity

    worker = GRADIENT._replace(commit=commit, init=init)
    return DistributedOptimizer(worker, additive(local))
