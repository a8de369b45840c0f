"""Clipped Downpour: no commit moves the center further than so many times what commits usually do.

    u ← β u + (1 − β) min(‖Δθᵏ‖, C),   C = κ u / (1 − βᵗ),   θ̃ ← θ̃ + min(1, C / ‖Δθᵏ‖) Δθᵏ,   θᵏ ← θ̃

One worker with a broken batch, or one that comes back with a very old window, cannot throw the center away. The first
commit sets the scale, so that no length has to be configured.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import DELTA, weighted_sum
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, Update
from distopt.settings import require_number
from distopt.trees import norms


class Usual(NamedTuple):
    """How long commits usually are."""

    length: jax.Array  # u, float32, shape ()
    commits: jax.Array  # t, int32, shape ()


def clipped(*, factor: float, decay: float) -> DistributedOptimizer:
    """Build clipped Downpour.

    Args:
        factor: κ ≥ 1, how many times the usual length is allowed.
        decay: 0 ≤ β < 1 of the usual length.
    """
    require_number("factor", factor)
    require_number("decay", decay, positive=False, most=1, below=True)
    if factor < 1:
        raise ValueError(f"factor={factor} must be at least 1: smaller ones stop training bit by bit")

    def init(center: Params, workers: int) -> Usual:
        del center, workers
        return Usual(jnp.zeros(()), jnp.zeros((), jnp.int32))

    def update(commits: Commits, state: Usual, center: Params) -> Update:
        length = norms(commits.message)
        usual = state.length / (1 - decay ** jnp.maximum(state.commits, 1))
        most = jnp.where(state.commits > 0, factor * usual, jnp.inf)
        allowed = jnp.minimum(length, most)
        kept = jnp.where(length > 0, allowed / length, 1.0)
        step = weighted_sum(kept, commits.message)
        state = Usual(decay * state.length + (1 - decay) * jnp.mean(allowed), state.commits + 1)
        return Update(jax.tree.map(jnp.add, center, step), state, metrics={"kept": kept})

    return DistributedOptimizer(DELTA, ServerRule(init, update))
