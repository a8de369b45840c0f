"""An update as a pure function of commits, state and center, and as a compiled program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import probes
from distopt.rules import Commits, DistributedOptimizer, Message, Params, State, Update
from distopt.trees import norms


class Folded(NamedTuple):
    """An update and the size of its commits."""

    update: Update
    norm: jax.Array  # ‖message‖₂ of each commit, shape (q,)


def fold(optimizer: DistributedOptimizer, center: Params, state: State, commits: Commits) -> Folded:
    """Apply one update; pure.

    Args:
        optimizer: the rules.
        center: θ̃.
        state: of the server rule.
        commits: of the q committers, ordered by worker; `pulled=None` if all of them pulled the current center.
    """
    q = commits.worker.shape[0]
    if commits.pulled is None:
        commits = commits._replace(pulled=jax.tree.map(lambda c: jnp.broadcast_to(c, (q, *c.shape)), center))
    update = optimizer.server.update(commits, state, center)
    if optimizer.worker.conserves:
        update = update._replace(metrics={**update.metrics, **probes.of_center(update.center)})
    return Folded(update, norms(commits.message) if update.norm is None else update.norm)


def idle(
    optimizer: DistributedOptimizer, center: Params, state: State, message: Message, updates: Any, quorum: int
) -> tuple[Params, State]:
    """Return center and state after updates whose commits are all zero, which the rule counts; pure.

    Args:
        optimizer: the rules.
        center: θ̃.
        state: of the server rule.
        message: the shapes of one commit.
        updates: how many; int32, shape ().
        quorum: commits of each update.
    """
    zeros = jax.tree.map(lambda m: jnp.zeros((quorum, *m.shape), m.dtype), message)
    nobody = jnp.zeros(quorum, jnp.int32)

    def one(_: Any, before: tuple[Params, State]) -> tuple[Params, State]:
        center, state = before
        pulled = jax.tree.map(lambda c: jnp.broadcast_to(c, (quorum, *c.shape)), center)
        update = optimizer.server.update(Commits(nobody, nobody, zeros, pulled), state, center)
        return update.center, update.state

    return jax.lax.fori_loop(0, updates, one, (center, state))


def distances(center: Params, pulled: Params | None, q: int) -> jax.Array:
    """Return ‖θ̃ − pulled‖₂ of q commits, shape (q,); `pulled` has a leading axis q, None means `center` itself."""
    return jnp.zeros(q) if pulled is None else norms(jax.tree.map(jnp.subtract, center, pulled))


@jax.jit
def distance_program(center: Params, pulled: list[Params]) -> jax.Array:
    """Return `distances` of pulled centers given as a list, one entry per committer."""
    return distances(center, _stack(pulled), len(pulled))


def compile_fold(optimizer: DistributedOptimizer) -> Callable[..., Folded]:
    """Return `fold` as a program with messages, pulled centers and replies as lists, one entry per committer."""

    def stack_and_fold(
        center: Params,
        state: State,
        messages: list[Message],
        worker: jax.Array,
        staleness: jax.Array,
        pulled: list[Params] | None,
    ) -> Folded:
        commits = Commits(worker, staleness, _stack(messages), None if pulled is None else _stack(pulled))
        folded = fold(optimizer, center, state, commits)
        each = folded.update.replies
        if each is None:
            return folded
        replies = [jax.tree.map(lambda leaf, i=i: leaf[i], each) for i in range(len(messages))]
        return folded._replace(update=folded.update._replace(replies=replies))

    return jax.jit(stack_and_fold, donate_argnums=1)


def _stack(trees: list[Any]) -> Any:
    """Stack the leaves of pytrees along a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
