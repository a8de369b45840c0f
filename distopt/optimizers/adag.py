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

SAMPLED_WEIGHTS = 1024  # the metrics look at every (d / 1024)-th weight: all of them would cost more than the update


def adag(*, gamma: float) -> DistributedOptimizer:
    """Build ADAG.

    Args:
        gamma: γ > 0, the squared distance at which a weight's step is halved. Large values give AGN.
    """

    require_number("gamma", gamma)

    def scale(c: jax.Array, p: jax.Array) -> jax.Array:
        return 1 / ((c - p) ** 2 / gamma + 1)

    def update(commits: Commits, state: State, center: Params) -> Update:
        step = jax.tree.map(lambda c, p, m: jnp.sum(scale(c, p) * m, axis=0), center, commits.pulled, commits.message)
        sampled = scale(_sample(jax.tree.map(lambda c: c[None], center)), _sample(commits.pulled))
        return Update(jax.tree.map(jnp.add, center, step), state, metrics=_quantiles(sampled))

    return DistributedOptimizer(
        WorkerRule(commit_mean_delta, adopt_center), ServerRule(lambda center, workers: (), update)
    )


def _sample(tree: Params) -> jax.Array:
    """Return at most about `SAMPLED_WEIGHTS` evenly spaced weights of each commit, shape (q, weights)."""
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(tree)]
    stride = -(-sum(leaf.shape[1] for leaf in leaves) // SAMPLED_WEIGHTS)
    return jnp.concatenate([leaf[:, ::stride] for leaf in leaves], axis=1)


def _quantiles(scale: jax.Array) -> dict[str, jax.Array]:
    """Return mean, 5 % quantile and minimum of the sampled scales of each commit, shape (q,)."""
    return {
        "scale_mean": jnp.mean(scale, axis=1),
        "scale_q05": _quantile(scale, 0.05),
        "scale_min": jnp.min(scale, axis=1),
    }


def _quantile(scale: jax.Array, share: float) -> jax.Array:
    """Return the quantile of values in [0, 1] to within 1e-6, by bisection: sorting takes ten times as long."""

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        below = jnp.mean(scale <= middle[:, None], axis=1) < share
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    bounds = jnp.zeros(scale.shape[0]), jnp.ones(scale.shape[0])
    return jax.lax.fori_loop(0, 20, halve, bounds)[1]
