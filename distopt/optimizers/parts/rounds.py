"""Delays that count a rule's own updates, for methods that discard commits or collect several before they move."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.optimizers.parts.server import weighted_sum
from distopt.rules import Commits, Params, ServerRule, Update


class Rounds(NamedTuple):
    """How often a rule has really moved the center, and how often it had when each worker got its last reply.

    A worker that lost its window and pulled the center again counts from the reply before that: its delay is
    overestimated once.
    """

    now: jax.Array  # int32, shape ()
    seen: jax.Array  # int32, shape (n,)

    @classmethod
    def begin(cls, workers: int) -> "Rounds":
        """Return the rounds before the first commit."""
        return cls(jnp.zeros((), jnp.int32), jnp.zeros(workers, jnp.int32))

    @property
    def workers(self) -> int:
        """Return n."""
        return self.seen.shape[0]

    def delay(self, worker: jax.Array) -> jax.Array:
        """Return how often the center moved since the last reply to each of some workers, int32, shape (q,)."""
        return self.now - self.seen[worker]

    def after(self, worker: jax.Array, moved: jax.Array) -> "Rounds":
        """Return the rounds once `worker`, shape (q,), have their replies and the center has `moved`, bool, or not."""
        now = self.now + moved.astype(jnp.int32)
        return Rounds(now, self.seen.at[worker].set(now))


def outcome(delay: jax.Array, accepted: jax.Array) -> dict[str, jax.Array]:
    """Return a commit's delay in rounds and whether it counted (1) or was discarded (0), shape (q,)."""
    return {"delay": delay.astype(jnp.float32), "accepted": accepted.astype(jnp.float32)}


class Buffer(NamedTuple):
    """The commits collected since the center last moved."""

    total: Params  # B = Σ w m
    held: jax.Array  # commits in it, int32, shape ()
    rounds: Rounds


def buffered(
    size: Callable[[int], int], weight: Callable[[jax.Array], jax.Array], learning_rate: float = 1.0
) -> ServerRule:
    """Collect K commits and then add their mean; nobody waits, each committer goes on from the center as it is.

        B ← B + w(τ) mᵏ;      at the K-th commit of weight > 0:   θ̃ ← θ̃ + η B / K,   B ← 0

    τ counts how often the center moved since the worker's last reply. Commits of weight 0 are discarded. What is in
    the buffer when training ends is lost.

    Args:
        size: K for a number of workers.
        weight: from τ, int32 of shape (q,), to weights ≥ 0 of shape (q,).
        learning_rate: η.
    """

    def init(center: Params, workers: int) -> Buffer:
        return Buffer(jax.tree.map(jnp.zeros_like, center), jnp.zeros((), jnp.int32), Rounds.begin(workers))

    def update(commits: Commits, state: Buffer, center: Params) -> Update:
        delay, full = state.rounds.delay(commits.worker), size(state.rounds.workers)
        w = weight(delay)
        total = jax.tree.map(jnp.add, state.total, weighted_sum(w, commits.message))
        held = state.held + jnp.sum(w > 0, dtype=jnp.int32)
        moves = held >= full
        center = jax.tree.map(lambda c, b: jnp.where(moves, c + learning_rate / full * b, c), center, total)
        rest = jax.tree.map(lambda b: jnp.where(moves, jnp.zeros_like(b), b), total)
        state = Buffer(rest, jnp.where(moves, 0, held), state.rounds.after(commits.worker, moves))
        return Update(center, state, metrics=outcome(delay, w > 0))

    return ServerRule(init, update)
