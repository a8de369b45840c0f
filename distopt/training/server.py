"""The parameter server: the single writer of the center. No I/O, no clock; the same object in every launcher."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distopt.records import Row, commit_row
from distopt.rules import DistributedOptimizer, Message, Params, Reply, State
from distopt.training.admission import Admission, Verdict
from distopt.training.messages import Applied, Delivery, Diverged, Dropped, Misfit, diverged
from distopt.training.nonfinite import sift
from distopt.training.trial import trial_commit
from distopt.training.update import Folded, compile_fold, distance_program, idle


class Server:
    """A server rule with versions, staleness, quorums and detection of duplicates.

    With `guarded`, the server refuses commits that are not finite or not of the right shape. A refused commit keeps its
    place in the order but is left out of the update, and its worker starts over from the center. Every update then
    waits until it is computed. Without `guarded`, such a commit ends training.
    """

    def __init__(
        self,
        optimizer: DistributedOptimizer,
        center: Params,
        workers: int,
        program: Callable[..., Folded] | None = None,
        *,
        guarded: bool = False,
    ) -> None:
        self.optimizer = optimizer
        self._guarded = guarded
        self._fold = program or compile_fold(optimizer)
        self.reset(center, workers)

    def reset(self, center: Params, workers: int) -> None:
        """Start over from a center, at version 0."""
        self.center = center
        initial = self.optimizer.server.init(center, workers)
        self.state = jax.tree.map(jnp.array, initial)  # own buffers: they get donated
        self.admission = Admission(self.optimizer.synchrony, workers)
        self.pending: dict[int, Delivery] = {}
        self.applied = [0] * workers  # sequence number of each worker's last commit that was applied or dropped
        self.pulled = [center] * workers  # the center each worker last pulled
        self.replies: list[Reply] = [center] * workers
        self.refused: set[int] = set()  # workers whose last commit was refused: their reply is the center
        self._together = self.optimizer.synchrony.barrier(workers)
        self._emptied = False

    @property
    def version(self) -> int:
        """Return the number of updates applied."""
        return self.admission.version

    @property
    def active(self) -> set[int]:
        """Return the workers whose budget is not used up."""
        return self.admission.active

    @property
    def late(self) -> set[int]:
        """Return the workers that start once the center has been trained a little."""
        return self.admission.late

    def waits(self, worker: int) -> bool:
        """Return whether a worker waits: for the quorum of its commit, for slower workers, or to start."""
        return worker in self.pending or worker in self.admission.held or worker in self.late

    def deliver(self, delivery: Delivery) -> Applied | None:
        """Take a commit; return its effect if it is dropped or completes a quorum, else None.

        Sequence numbers at or below the last applied one, and commits already waiting for the quorum, change nothing.
        `rows`, which may be called later, tells whether the commits of the update were finite.

        Raises:
            Misfit: the commit is not of the right shape, and the server is not guarded.
        """
        worker = delivery.worker
        if delivery.flaw and not self._guarded:
            which = f"commit {delivery.sequence} of worker {worker}"
            raise Misfit(f"update {self.version + 1}: {which} is refused: {delivery.flaw}")
        if delivery.sequence <= self.applied[worker] or worker in self.pending:
            return None
        verdict = self.admission.commit(worker, delivery.last)
        dropped = None
        if verdict.late is None:
            self.pending[worker] = delivery
        else:
            self.applied[worker] = delivery.sequence
            self.refused.discard(worker)
            version = self.version - bool(verdict.committers)
            dropped = Dropped(delivery._replace(message=None), verdict.late, version)
        if not verdict.committers and dropped is None:
            return None
        return self._carry_out(verdict)._replace(dropped=dropped)

    def forget(self, worker: int) -> None:
        """Drop a worker's commit that waits for its quorum."""
        self.admission.forget(worker)
        self.pending.pop(worker, None)

    def lose(self, workers: Sequence[int]) -> list[Applied]:
        """Continue without lost workers; return the updates and answers that waited only for them."""
        for worker in workers:
            self.forget(worker)
        found = []
        for worker in workers:
            verdict = self.admission.lose(worker)
            if verdict.committers or verdict.released:
                found.append(self._carry_out(verdict))  # before the next verdict, which may be another update
        return found

    def join(self, worker: int) -> None:
        """Wait again for a worker that had used up its budget."""
        self.admission.join(worker)

    def save(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state between two updates for `load`: arrays, and numbers that JSON can hold."""
        numbers = {"admission": self.admission.save(), "applied": list(self.applied), "refused": sorted(self.refused)}
        return {"center": self.center, "state": self.state, "pulled": list(self.pulled)}, numbers

    def load(self, arrays: Mapping[str, Any], numbers: Mapping[str, Any]) -> None:
        """Restore what `save` returned; workers must send commits that waited for their quorum again."""
        self.center, self.state = arrays["center"], arrays["state"]
        self.admission.load(numbers["admission"])
        self.applied, self.pending, self.pulled = list(numbers["applied"]), {}, list(arrays["pulled"])
        self.replies, self.refused = [self.center] * len(self.pulled), set(numbers["refused"])

    def pull(self, worker: int) -> Params:
        """Note that a worker pulls the center without a commit, and return the center."""
        self.admission.pull(worker)
        self.pulled[worker] = self.center
        return self.center

    def finish(self) -> None:
        """Apply what the rule still keeps when training is over: an update without commits."""
        held = self.version % self.optimizer.synchrony.period
        if not held or self._emptied:
            return
        self._emptied = True
        self._idle(self.optimizer.synchrony.period - held)
        self.admission.version += 1

    def _idle(self, updates: int) -> None:
        """Apply updates without commits: the rule counts them, and they add nothing."""
        self.center, self.state = self._idle_program(self.center, self.state, np.int32(updates))

    @cached_property
    def _idle_program(self) -> Callable[..., tuple[Params, State]]:
        message, _ = jax.eval_shape(lambda center: trial_commit(self.optimizer, center), self.center)
        quorum = self.optimizer.synchrony.quorums(len(self.pulled))[-1]
        return jax.jit(lambda center, state, updates: idle(self.optimizer, center, state, message, updates, quorum))

    @property
    def result(self) -> Params:
        """Return what is evaluated and kept: the center, or a copy of the optimizer's `Result`."""
        result = self.optimizer.result
        if result is None:
            return self.center
        return jax.tree.map(jnp.copy, result.of(self.state))  # a copy, because the state gets donated

    def warm_up(self, message: Message) -> None:
        """Compile the update for full quorums of commits shaped like `message`; changes nothing."""
        message = jax.tree.map(lambda m: jnp.zeros(m.shape, m.dtype), message)
        for q in self.optimizer.synchrony.quorums(len(self.pulled)):
            state = jax.tree.map(jnp.array, self.state)
            who, pulled = self._whence(range(q))
            jax.block_until_ready(self._fold(self.center, state, [message] * q, who, np.zeros(q, np.int32), pulled))
            if pulled is not None:
                distance_program(self.center, pulled)

    def _whence(self, workers: Sequence[int]) -> tuple[np.ndarray, list[Params] | None]:
        """Return the committers, and the centers they pulled; None: all of them pulled the current one."""
        pulled = None if self._together else [self.pulled[worker] for worker in workers]
        return np.array(workers, np.int32), pulled

    def _carry_out(self, verdict: Verdict) -> Applied:
        """Update the center if there is a quorum, and answer the released workers."""
        before, deliveries = self.center, [self.pending.pop(worker) for worker in verdict.committers]
        pulled, measured = None, dict[str, Any]()
        told: dict[int, Reply] = {}
        if deliveries:
            who, pulled = self._whence(verdict.committers)
            measured, told = self._update(deliveries, who, np.array(verdict.staleness, np.int32), pulled)
        for d in deliveries:
            self.applied[d.worker] = d.sequence
        replies = self._reply(verdict, told)
        heads = [d._replace(message=None) for d in deliveries]
        refused = tuple(self.refused.intersection(verdict.committers))
        return Applied(self.version, before, heads, list(verdict.staleness), pulled, replies, measured, refused)

    def _update(self, deliveries: list[Delivery], *whence: Any) -> tuple[dict[str, Any], dict[int, Reply]]:
        """Update the center; return what was measured of the commits, and the rule's own replies."""
        messages, workers = [d.message for d in deliveries], [d.worker for d in deliveries]
        kept = list(range(len(deliveries)))
        if self._guarded:
            loss = [d.measured["loss"] for d in deliveries]
            folded, kept, measured = sift(self._fold, self.center, self.state, messages, loss, *whence)
            accepted = {workers[i] for i in kept}
            self.refused = self.refused.union(workers) - accepted
            if folded is None:
                if self.optimizer.synchrony.period > 1:  # the refused update keeps its place in the period
                    self._idle(1)
                return measured, {}
        else:
            folded = self._fold(self.center, self.state, messages, *whence)
            measured = {"commit_norm": folded.norm, **folded.update.metrics}
        self.center, self.state, told = folded.update.center, folded.update.state, folded.update.replies
        return measured, dict(zip((workers[i] for i in kept), told or (), strict=bool(told)))

    def _reply(self, verdict: Verdict, told: Mapping[int, Reply]) -> dict[int, Reply]:
        """Return the replies of the answered workers, from the rule (`told`) or the center, and note what they pull."""
        synchrony = self.optimizer.synchrony
        answered = [k for k in verdict.released if synchrony.answered(self.applied[k]) or k in self.refused]
        for worker in answered:
            self.admission.pull(worker)
            self.pulled[worker] = self.center
            self.replies[worker] = told.get(worker, self.center)
        return {worker: self.replies[worker] for worker in answered}

    def measure(self, applied: Applied) -> Applied:
        """Start to compute how far the center has moved since each committer of an update pulled."""
        q = len(applied.deliveries)
        distance = np.zeros(q) if applied.pulled is None else distance_program(applied.before, applied.pulled)
        return applied._replace(measured={**applied.measured, "distance": distance}, pulled=None)

    def rows(
        self,
        applied: Applied,
        time_s: float = 0.0,
        server_s: Callable[[int], float] = lambda worker: 0.0,
        bytes_down: Callable[[int], int] = lambda sequence: 0,
    ) -> list[Row]:
        """Return the rows of a dropped commit and of an update's commits; wait until the update is computed.

        Args:
            applied: what `deliver` returned.
            time_s: when it was applied, on the launcher's clock.
            server_s: from a committer to the seconds that the server worked on its commit.
            bytes_down: from the number of a worker's commit to the bytes of the answer.

        Raises:
            Diverged: a loss or a commit is not finite; the center is set back to before the update.
        """
        if "distance" not in applied.measured:
            applied = self.measure(applied)
        gone = applied.dropped
        deliveries = [*applied.deliveries, *([gone.delivery] if gone else [])]
        told = [{**d.measured, **d.columns} for d in deliveries]
        measured, told = jax.device_get((applied.measured, told))
        for d, norm, window in zip(applied.deliveries, measured.get("commit_norm", ()), told, strict=False):
            if not self._guarded and not (math.isfinite(window["loss"]) and math.isfinite(norm)):
                self.admission.version, self.center = applied.version - 1, applied.before
                raise Diverged(diverged(applied.version, d.worker, window["loss"], norm))

        def row(d: Delivery, update: int, staleness: int, values: Mapping[str, Any], accepted: int = 1) -> Row:
            return commit_row(
                update,
                d.worker,
                staleness,
                time_s,
                steps=d.steps,
                samples=d.samples,
                sequence=d.sequence,
                bytes_up=d.bytes_up,
                bytes_down=bytes_down(d.sequence),
                compute_s=d.compute_s,
                exchange_s=d.exchange_s,
                server_s=server_s(d.worker),
                accepted=accepted,
                **{name: float(value) for name, value in values.items()},
            )

        rows = []
        if gone:
            unknown = dict.fromkeys(("commit_norm", "distance"), math.nan)
            rows.append(row(gone.delivery, gone.version, gone.staleness, told.pop() | unknown, accepted=0))
        for i, (d, staleness, window) in enumerate(zip(applied.deliveries, applied.staleness, told, strict=True)):
            own = {name: value[i] if value.ndim else value for name, value in measured.items()}
            rows.append(row(d, applied.version, staleness, window | own))
        if self._guarded:
            for each in rows:
                each["refused"] = int(each["accepted"] == 1 and each["worker"] in applied.refused)
        return rows
