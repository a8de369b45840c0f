"""Gap-Aware: every weight of a commit is divided by how far the center moved since the pull, in usual commits.

    v ← β v + (1 − β) (Δθᵏ)²,   C = √(v / (1 − βᵗ)) + ε,   θ̃ ← θ̃ + Δθᵏ / (1 + |θ̃ − pᵏ| / C),   θᵏ ← θ̃

elementwise; pᵏ is the center that worker k pulled, C the size of a usual commit, so that no distance has to be
configured. A fresh commit counts in full; a commit whose center moved by one usual commit counts half. Scaling all
steps by a common factor does not change the penalty. ADAG is the same idea with a squared distance and a fixed γ.

Source: S. Barkai, I. Hakimi, A. Schuster, "Gap-Aware Mitigation of Gradient Staleness", 2020 (arXiv:1909.10802), as
implemented in FTPipe.
Differences: the original divides gradients, and C is the largest learning rate so far times the root mean square of
gradients or momentum; for plain SGD and a window of 1 the two are the same. Here the local updates of a window are
divided, and momentum and Adam stay in the workers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import DELTA, sample, scale_metrics
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, Update
from distopt.settings import require_number


class Usual(NamedTuple):
    """State of the server: the mean square of commits."""

    square: Params  # v
    commits: jax.Array  # t, int32, shape ()


def gap_aware(*, decay: float, eps: float) -> DistributedOptimizer:
    """Build Gap-Aware.

    Args:
        decay: 0 ≤ β < 1 of the mean square of commits.
        eps: ε > 0, the least C; far below the size of any commit.
    """
    require_number("decay", decay, positive=False, most=1, below=True)
    require_number("eps", eps)

    def init(center: Params, workers: int) -> Usual:
        del workers
        return Usual(jax.tree.map(jnp.zeros_like, center), jnp.zeros((), jnp.int32))

    def update(commits: Commits, state: Usual, center: Params) -> Update:
        t = state.commits + 1
        square = jax.tree.map(
            lambda v, m: decay * v + (1 - decay) * jnp.mean(m**2, axis=0), state.square, commits.message
        )

        def scale(c: jax.Array, p: jax.Array, v: jax.Array) -> jax.Array:
            return 1 / (1 + jnp.abs(c - p) / (jnp.sqrt(v / (1 - decay**t)) + eps))

        step = jax.tree.map(
            lambda c, p, v, m: jnp.sum(scale(c, p, v) * m, axis=0), center, commits.pulled, square, commits.message
        )
        now, usual = jax.tree.map(lambda leaf: leaf[None], (center, square))
        metrics = scale_metrics(scale(sample(now), sample(commits.pulled), sample(usual)))
        return Update(jax.tree.map(jnp.add, center, step), Usual(square, t), metrics=metrics)

    return DistributedOptimizer(DELTA, ServerRule(init, update))
