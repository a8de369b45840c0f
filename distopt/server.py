"""The parameter server: the single writer of the center. No I/O, no clock; the same object in every launcher."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.errors import DistoptError
from distopt.rules import Commits, DistributedOptimizer, Message, Params, Reply, State, Update

Row = dict[str, Any]


class Diverged(DistoptError):
    """A commit that is not finite; it was not applied."""


class Delivery(NamedTuple):
    """One commit on its way to the server, with what the worker says about its window."""

    worker: int
    sequence: int  # 1, 2, … per worker
    message: Message
    steps: int
    samples: int
    loss: float
    accuracy: float
    compute_s: float
    exchange_s: float
    bytes_up: int
    last: bool  # the worker's budget ends with this commit
    positions: Mapping[str, float] = {}  # of an analytic function: where the window opened and ended


class Applied(NamedTuple):
    """One update of the center."""

    version: int
    rows: list[Row]  # one per commit, ordered by worker; the launcher adds the times
    replies: dict[int, Reply]


class Folded(NamedTuple):
    """An update and the measurements taken along with it."""

    update: Update
    norm: jax.Array  # ‖message‖₂ of each commit, shape (q,)
    distance: jax.Array  # ‖θ̃ − pulled‖₂ of each commit, shape (q,)


class Server:
    """Version, staleness, quorum and duplicates around a server rule."""

    def __init__(
        self,
        optimizer: DistributedOptimizer,
        center: Params,
        workers: int,
        program: Callable[..., Folded] | None = None,
    ) -> None:
        self.optimizer = optimizer
        self._fold = program or compile_fold(optimizer)
        self.reset(center, workers)

    def reset(self, center: Params, workers: int) -> None:
        """Start over from a center, at version 0."""
        self.center = center
        self.state = self.optimizer.server.init(center, workers)
        self.version = 0
        self.active = set(range(workers))
        self.pending: dict[int, Delivery] = {}
        self.applied = [0] * workers  # sequence number of each worker's last applied commit
        self.pulled = [(0, center)] * workers  # version and center each worker last pulled
        self.replies: list[Reply] = [center] * workers

    def deliver(self, delivery: Delivery) -> Applied | None:
        """Take a commit; when it completes the quorum, update the center and return what was applied.

        Sequence numbers at or below the last applied one, and commits already waiting for the quorum, change nothing.

        Raises:
            Diverged: a loss or a commit of the quorum is not finite; the center keeps its last value.
        """
        if delivery.sequence <= self.applied[delivery.worker]:
            return None
        self.pending.setdefault(delivery.worker, delivery)
        if len(self.pending) < min(self.optimizer.quorum, len(self.active)):
            return None
        deliveries = [self.pending[worker] for worker in sorted(self.pending)]
        self.pending = {}
        return self._apply(deliveries)

    def pull(self, worker: int) -> None:
        """Note that a worker fetched the center without a commit."""
        self.pulled[worker] = (self.version, self.center)

    def warm_up(self, message: Message) -> None:
        """Compile the update for a full quorum of commits shaped like `message`; changes nothing."""
        message = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), message)
        state = jax.tree.map(jnp.array, self.state)
        q = min(self.optimizer.quorum, len(self.active))
        jax.block_until_ready(self._fold(self.center, state, [message] * q, *self._whence(range(q))))

    def _whence(self, workers: Any) -> tuple[jax.Array, jax.Array, list[Params] | None]:
        """Return who the committers are, their staleness, and the centers they pulled (None: all the current one)."""
        staleness = [self.version - self.pulled[worker][0] for worker in workers]
        barrier = self.optimizer.quorum >= len(self.pulled)
        pulled = None if barrier else [self.pulled[worker][1] for worker in workers]
        return jnp.array(list(workers), jnp.int32), jnp.array(staleness, jnp.int32), pulled

    def _apply(self, deliveries: list[Delivery]) -> Applied:
        workers = [delivery.worker for delivery in deliveries]
        who, staleness, pulled = self._whence(workers)
        folded = self._fold(self.center, self.state, [d.message for d in deliveries], who, staleness, pulled)
        measured = jax.device_get({"commit_norm": folded.norm, "distance": folded.distance, **folded.update.metrics})
        for delivery, norm in zip(deliveries, measured["commit_norm"], strict=True):
            if not (math.isfinite(delivery.loss) and math.isfinite(norm)):
                raise Diverged(diverged(self.version + 1, delivery.worker, delivery.loss, norm))
        self.version += 1
        self.center, self.state = folded.update.center, folded.update.state
        replies = self._reply(workers, folded.update.replies)
        rows = [
            {
                "update": self.version,
                "worker": d.worker,
                "staleness": int(staleness[i]),
                "steps": d.steps,
                "samples": d.samples,
                "loss": d.loss,
                "accuracy": d.accuracy,
                "compute_s": d.compute_s,
                "exchange_s": d.exchange_s,
                "bytes_up": d.bytes_up,
                "sequence": d.sequence,
                **d.positions,
                **{name: float(value[i] if value.ndim else value) for name, value in measured.items()},
            }
            for i, d in enumerate(deliveries)
        ]
        for d in deliveries:
            self.applied[d.worker] = d.sequence
            if d.last:
                self.active.discard(d.worker)
        return Applied(self.version, rows, replies)

    def _reply(self, workers: list[int], replies: Reply | None) -> dict[int, Reply]:
        """Note what each committer pulls with this update, and return their replies."""
        for i, worker in enumerate(workers):
            reply = self.center if replies is None else jax.tree.map(lambda leaf, i=i: leaf[i], replies)
            self.pulled[worker] = (self.version, self.center)
            self.replies[worker] = reply
        return {worker: self.replies[worker] for worker in workers}


def diverged(update: int, worker: int, loss: float, norm: float) -> str:
    """Say which commit ended training, and what was not finite."""
    what = f"loss {loss}" if math.isfinite(norm) else f"norm of the commit {norm}"
    return f"update {update}: {what} from worker {worker}"


def fold(optimizer: DistributedOptimizer, center: Params, state: State, commits: Commits) -> Folded:
    """Apply one update and measure it; pure.

    Args:
        optimizer: the rules.
        center: θ̃.
        state: of the server rule.
        commits: of the q committers, ordered by worker; `pulled=None` if all of them pulled the current center.
    """
    q = commits.worker.shape[0]
    distance = jnp.zeros(q)
    if commits.pulled is not None:
        distance = _norms(jax.tree.map(jnp.subtract, center, commits.pulled))
    else:
        commits = commits._replace(pulled=jax.tree.map(lambda c: jnp.broadcast_to(c, (q, *c.shape)), center))
    update = optimizer.server.update(commits, state, center)
    return Folded(update, _norms(commits.message), distance)


def compile_fold(optimizer: DistributedOptimizer) -> Callable[..., Folded]:
    """Return `fold` as a program that takes messages and pulled centers as lists, one entry per committer."""

    def stack_and_fold(
        center: Params,
        state: State,
        messages: list[Message],
        worker: jax.Array,
        staleness: jax.Array,
        pulled: list[Params] | None,
    ) -> Folded:
        commits = Commits(worker, staleness, _stack(messages), None if pulled is None else _stack(pulled))
        return fold(optimizer, center, state, commits)

    return jax.jit(stack_and_fold, donate_argnums=1)


def _stack(trees: list[Any]) -> Any:
    """Stack the leaves of pytrees along a new leading axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _norms(tree: Params) -> jax.Array:
    """Return ‖·‖₂ over all leaves, for each entry of the leading axis, shape (q,)."""
    leaves = [leaf.reshape(leaf.shape[0], -1).astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf), axis=1) for leaf in leaves))
