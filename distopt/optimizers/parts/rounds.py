"""Rules that collect several commits before they move the center, without a worker waiting."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.optimizers.parts.server import weighted_sum
from distopt.optimizers.parts.worker import DELTA
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, Synchrony, Update


class Buffer(NamedTuple):
    """The commits collected since the center last moved."""

    total: Params  # B = Σ w m
    held: jax.Array  # commits in it, int32, shape ()


def buffered(
    size: int,
    weight: Callable[[jax.Array], jax.Array],
    learning_rate: float = 1.0,
    max_staleness: int | None = None,
) -> DistributedOptimizer:
    """Collect K local updates, then add their mean; no worker waits: each goes on from the present center.

        B ← B + w(τ) Δθᵏ;      at the K-th commit:   θ̃ ← θ̃ + η B / K,   B ← 0

    τ counts moves of the center since the worker's last reply. When training ends, the commits in the buffer are added
    with the same weight η / K each. A refused commit takes a place in the buffer and adds nothing.

    Args:
        size: K.
        weight: from τ, int32 of shape (q,), to weights ≥ 0 of shape (q,).
        learning_rate: η.
        max_staleness: the largest τ that counts; later commits are dropped.
    """

    def init(center: Params, workers: int) -> Buffer:
        del workers
        return Buffer(jax.tree.map(jnp.zeros_like, center), jnp.zeros((), jnp.int32))

    def update(commits: Commits, state: Buffer, center: Params) -> Update:
        # Of the updates since the pull, the last `held` have not moved the center; of those before, every K-th has.
        delay = (commits.staleness - state.held + size - 1) // size
        total = jax.tree.map(jnp.add, state.total, weighted_sum(weight(delay), commits.message))
        moves = state.held + 1 >= size
        center = jax.tree.map(lambda c, b: jnp.where(moves, c + learning_rate / size * b, c), center, total)
        rest = jax.tree.map(lambda b: jnp.where(moves, jnp.zeros_like(b), b), total)
        held = jnp.where(moves, 0, state.held + 1)
        return Update(center, Buffer(rest, held), metrics={"delay": delay.astype(jnp.float32)})

    return DistributedOptimizer(DELTA, ServerRule(init, update), Synchrony(period=size, max_staleness=max_staleness))
