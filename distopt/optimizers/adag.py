"""ADAG: AGN's commits, scaled per weight by how far the center has moved since the worker pulled it.

    s = 1 / ((θ̃ − pᵏ)² / γ + 1)   elementwise,      θ̃ ← θ̃ + s ⊙ Δθᵏ / λ,      θᵏ ← θ̃

pᵏ is the center that worker k pulled. A weight that did not move keeps its full step (s = 1).

Source: Hermans 2017, equations 4.7 to 4.9, algorithm 12 (the server remembers what each worker pulled).
Differences: the thesis writes a norm but scales per weight, as does dist-keras, whose class `Experimental` is this
method (its class `ADAG` is AGN).
"""

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import adopt_center, commit_mean_delta, require_number
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, State, Update, WorkerRule

SAMPLED_WEIGHTS = 4096  # quantiles are taken over every (d / 4096)-th weight: sorting all of them costs more than a step


def adag(*, gamma: float) -> DistributedOptimizer:
    """Build ADAG.

    Args:
        gamma: γ > 0, the squared distance at which a weight's step is halved. Large values give AGN.
    """

    require_number("gamma", gamma)

    def init(center: Params, workers: int) -> State:
        return jax.tree.map(lambda c: jnp.broadcast_to(c, (workers, *c.shape)), center)

    def update(commits: Commits, seen: State, center: Params) -> Update:
        scale = jax.tree.map(lambda c, p: 1 / ((c - p[commits.worker]) ** 2 / gamma + 1), center, seen)
        center = jax.tree.map(lambda c, s, m: c + jnp.sum(s * m, axis=0), center, scale, commits.message)
        seen = jax.tree.map(lambda p, c: p.at[commits.worker].set(c), seen, center)
        return Update(center, seen, metrics=_scale_metrics(scale))

    return DistributedOptimizer(WorkerRule(commit_mean_delta, adopt_center), ServerRule(init, update))


def _scale_metrics(scale: Params) -> dict[str, jax.Array]:
    """Return mean, 5 % quantile and minimum over all weights for each commit, shape (q,)."""
    leaves = [s.reshape(s.shape[0], -1) for s in jax.tree.leaves(scale)]
    weights = sum(s.shape[1] for s in leaves)
    stride = -(-weights // SAMPLED_WEIGHTS)
    sample = jnp.concatenate([s[:, ::stride] for s in leaves], axis=1)
    return {
        "scale_mean": sum(jnp.sum(s, axis=1) for s in leaves) / weights,
        "scale_q05": jnp.quantile(sample, 0.05, axis=1),
        "scale_min": jnp.min(jnp.stack([jnp.min(s, axis=1) for s in leaves]), axis=0),
    }
