"""A pass over the data in portions: which worker takes which portion, and which are done. Every portion counts once.

A free worker takes the unfinished portion with the fewest copies so far, the first of equals. So the portions are given
out in order, then copies of the portions that are longest under way. The first result of a portion counts, and no
worker ever waits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Task(NamedTuple):
    """What a worker is to do next."""

    round: jax.Array  # number of the pass; int32, shape ()
    portion: jax.Array  # int32, shape (); negative until the server has named one

    @classmethod
    def first(cls) -> "Task":
        """Return the task that every worker begins with."""
        return cls(jnp.zeros((), jnp.int32), -jnp.ones((), jnp.int32))

    def of(self, worker: jax.Array, portions: int) -> jax.Array:
        """Return the portion that a worker takes: the one that was named, or in the first pass worker modulo P."""
        return jnp.where(self.portion < 0, worker % portions, self.portion)


class Board(NamedTuple):
    """The pass that is under way."""

    round: jax.Array  # its number; int32, shape ()
    copies: jax.Array  # how many workers were given each portion; int32, shape (P,)
    done: jax.Array  # bool, shape (P,)

    @classmethod
    def begin(cls, portions: int, workers: int) -> "Board":
        """Return the first pass, with all workers at work on the first portions."""
        copies = jnp.bincount(jnp.arange(workers) % portions, length=portions)
        return cls(jnp.zeros((), jnp.int32), copies.astype(jnp.int32), jnp.zeros(portions, bool))

    def tick(self, task: Task, worker: jax.Array) -> tuple["Board", jax.Array]:
        """Note that a worker has done its task; also return whether it counts: not if another worker did it before."""
        portion = task.of(worker, len(self.done))
        counts = (task.round == self.round) & ~self.done[portion]
        return self._replace(done=self.done.at[portion].max(counts)), counts

    def again(self) -> "Board":
        """Return the next pass, with nothing given out."""
        return Board(self.round + 1, jnp.zeros_like(self.copies), jnp.zeros_like(self.done))

    def give(self) -> tuple["Board", Task]:
        """Give a portion that is not done to a free worker."""
        portion = jnp.argmin(jnp.where(self.done, jnp.iinfo(jnp.int32).max, self.copies)).astype(jnp.int32)
        return self._replace(copies=self.copies.at[portion].add(1)), Task(self.round, portion)
