"""The parameter-server actor: `distopt.training.server.Server` behind one call per exchange."""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distopt import local, optimizers
from distopt.launchers.ray.local_state import Keepsakes
from distopt.launchers.ray.membership import Members, Start
from distopt.launchers.ray.shared_memory import Slots, Wire
from distopt.launchers.ray.snapshots import Snapshots
from distopt.records import Checkpoint, Row
from distopt.rules import Params
from distopt.runs.checkpoints import pack, unpack
from distopt.schedules import CLOCKS
from distopt.training.messages import Applied, Delivery, Diverged, Misfit
from distopt.training.scheduling import follow
from distopt.training.server import Server
from distopt.training.shapes import Shapes, traffic
from distopt.training.worker import Kept


class Ack(NamedTuple):
    """The answer to a pull or an exchange; center or reply travel in the worker's slot, or as `payload`."""

    stop: bool
    payload: np.ndarray | None = None
    refused: bool = False  # whether the commit was refused: `payload` is the center to start over from


def _own(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the server's arrays that a checkpoint keeps: all but the centers that workers pulled."""
    return {name: array for name, array in arrays.items() if name != "pulled"}


UNKNOWN: Mapping[str, float] = dict.fromkeys(CLOCKS, math.inf)  # how far the clocks of a schedule get


class ParameterServer:
    """The single writer of the center: all its calls run in one thread, and none interrupts an update."""

    def __init__(
        self,
        config: Mapping[str, Any],
        workers: int,
        budget: Sequence[int],
        epoch: int = 0,
        reach: Mapping[str, float] = UNKNOWN,
    ) -> None:
        rules = optimizers.from_config(config, local.build(config["local"]))
        _, self._optimizer, _ = follow(config, rules, reach)
        self._synchrony = self._optimizer.synchrony
        self._workers = workers
        self._stop = config["stop"]
        self._guarded = config["on_bad_commit"] != "stop"
        self._anew = config["on_bad_commit"] == "restart"  # a refused worker starts with fresh local state
        self._rows: list[dict[str, Any]] = []
        self._ended: tuple[str, str | None] | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._budget, self._window, self._epoch = budget, config["optimizer"]["window"], epoch
        self._loss = config["launcher"]["on_worker_loss"]
        self._samples = self._exchanges = 0
        self._forgotten = 0  # rows the driver has
        self._updated = 0.0  # seconds on the clock at the last update
        self._unread: Applied | None = None  # answered, but its rows are not read yet

    def open(self) -> str:
        """Return the Ray node this actor is on."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def prepare(self, layout: Shapes, kept: Kept | tuple[()] = ()) -> str:
        """Compile the update and reserve the slots, with room for what is `kept` of workers; return their path."""
        self._up, self._down, self._center = Wire(layout.message), Wire(layout.reply), Wire(layout.center)
        self._whole = Wire(layout.params)
        self._keepsakes = Keepsakes(kept, self._workers)
        wires = (self._up, self._down, self._center, Wire(kept))
        sizes = (self._workers, *(wire.buffer_bytes for wire in wires))
        self._traffic = traffic(layout, self._synchrony)
        self._path = Slots.create(*sizes)
        self._slots = Slots(self._path, *sizes)
        center = jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), layout.params)
        self._server = Server(self._optimizer, center, self._workers, guarded=self._guarded)
        self._server.warm_up(layout.message)
        return self._path

    def start(self, center: Params, evaluate_every: int, saved: Checkpoint | None = None) -> None:
        """Take the initial center, or a checkpoint, and start the clock; every actor must have opened the slots."""
        self._evaluate_every = evaluate_every
        Slots.forget(self._path)
        self._server.reset(jax.tree.map(jnp.array, center), self._workers)
        self._members = Members(self._server, self._budget, self._window, self._epoch, self._clock, self._keepsakes.get)
        if saved:
            self._restore(saved)
        self._fetched = list(self._server.applied)  # the commit for which each worker last fetched the center
        self._snapshots = Snapshots()
        self._snapshots.add(self._server.version, self._updated, self._samples, self._server.result)
        self._began = time.perf_counter() - self._updated

    def _clock(self) -> float:
        """Return the seconds since training began."""
        return time.perf_counter() - self._began

    def _restore(self, saved: Checkpoint) -> None:
        """Restore a checkpoint; the workers start from its center."""
        like = _own(self._server.save()[0]) | {"kept": self._keepsakes.like(saved.numbers["kept"])}
        arrays = unpack(like, saved.arrays)
        self._server.load(arrays | {"pulled": [arrays["center"]] * self._workers}, saved.numbers["server"])
        self._keepsakes.load(arrays["kept"], self._server.applied)
        self._members.load(saved.numbers["members"])
        self._updated, self._samples = saved.time_s, saved.numbers["samples"]
        self._exchanges = saved.numbers["exchanges"]

    def checkpoint(self, seen: int, events: int) -> tuple[Any, Checkpoint]:
        """Return what `news` returns, and a checkpoint of the state after it; training waits only for a copy.

        The checkpoint does not hold what workers train from: they will start from the center.
        """
        news = self.news(seen, events)
        arrays, numbers = self._server.save()
        kept = self._keepsakes.save(self._server.applied)
        copied = {name: np.array(array) for name, array in pack(_own(arrays) | {"kept": kept}).items()}
        told = {"server": numbers, "members": self._members.save(), "samples": self._samples, "epoch": self._epoch}
        told |= {"exchanges": self._exchanges, "kept": list(kept)}
        return news, Checkpoint(self._server.version, self._updated, copied, told)

    def pull(self, worker: int, sequence: int, remote: bool, incarnation: int, epoch: int) -> Ack:
        """Answer a worker that fetches the center before its commit number `sequence`.

        A pull that was answered before is answered with the same center again.
        """
        self._read()
        if self._ended is not None or self._members.refused(worker, incarnation, epoch):
            return Ack(stop=True)
        if sequence > self._fetched[worker]:
            self._fetched[worker] = sequence
            center = self._server.pull(worker)
            if not remote:
                self._center.write(center, self._slots.center(worker, sequence))
        return Ack(stop=False, payload=self._center.pack(self._server.pulled[worker]) if remote else None)

    async def exchange(self, head: Delivery, payload: np.ndarray | None, kept: np.ndarray | None = None) -> Ack:
        """Take a commit, wait until its worker may go on, and answer with the reply.

        A commit that was applied or dropped before is answered with the same reply again and changes nothing.

        Args:
            head: what the worker says about its window.
            payload: the commit by value; None: it is in the worker's slot.
            kept: the worker's local state, by value; None: it is in the slot.
        """
        self._exchanges += 1
        worker, remote = head.worker, payload is not None
        if self._members.refused(worker, head.incarnation, head.epoch):
            return Ack(stop=True)
        if payload is not None and payload.nbytes != self._up.buffer_bytes:
            head = head._replace(flaw=f"it has {payload.nbytes} bytes instead of {self._up.buffer_bytes}")
        if head.sequence > self._server.applied[worker]:
            kept = self._slots.kept(worker, head.sequence) if kept is None else kept
            self._keepsakes.put(worker, head.sequence, kept)
        self._slots.busy[worker] = 1
        if self._ended is None and (head.sequence > self._server.applied[worker] or self._server.waits(worker)):
            await self._deliver(head, payload)
        self._slots.busy[worker] = 0
        if head.sequence > self._server.applied[worker]:  # training ended first, or the worker was given up
            return Ack(stop=True)
        if worker in self._server.refused:
            return Ack(self._ended is not None, self._whole.pack(self._server.replies[worker]), refused=True)
        answered = remote and self._synchrony.answered(head.sequence)
        return Ack(self._ended is not None, self._down.pack(self._server.replies[worker]) if answered else None)

    async def _deliver(self, head: Delivery, payload: np.ndarray | None) -> None:
        if not self._server.waits(head.worker):
            self._read()
            if self._ended is not None:
                return
            began = time.perf_counter()
            if head.flaw is None:
                buffer = self._slots.up(head.worker) if payload is None else payload
                head = head._replace(message=jax.device_put(self._up.read(buffer)))  # a view, not a copy
            try:
                applied = self._server.deliver(head)
            except Misfit as error:
                self._end("failed", str(error))
                return
            if applied is not None:
                self._answer(applied, began)
            if self._ended is not None or not self._server.waits(head.worker):
                return
        waiting = self._waiting.setdefault(head.worker, asyncio.get_running_loop().create_future())
        await asyncio.shield(waiting)  # a duplicate of this commit may wait for the same update

    def free(self) -> bool:
        """Return whether no commit waits for an answer."""
        return not self._slots.busy.any()

    async def go_on(self, worker: int, sequence: int, incarnation: int, epoch: int) -> Start | None:
        """Return where a worker continues that is new or done; see `Members.go_on`."""
        start = await self._members.go_on(worker, sequence, incarnation, epoch)
        if start is None or start.center is None:
            return start
        return start._replace(center=jax.tree.map(np.asarray, start.center))

    def lose(self, workers: list[int], incarnation: int, reason: str) -> bool:
        """Give up an incarnation of lost workers; return whether they leave work undone.

        A repeated call changes nothing.
        """
        self._read()
        began = time.perf_counter()
        lost = self._members.lose(workers, incarnation, reason)
        for worker in lost:
            self._fetched[worker] = self._server.applied[worker]
            self._slots.busy[worker] = 0
        self._wake(lost)
        if self._loss == "continue" and lost and self._ended is None:
            for applied in self._members.orphan(lost):
                self._read()
                self._answer(applied, began)
            self._end_if_over()
        return self._members.leave_work(workers)

    def _answer(self, applied: Applied, began: float) -> None:
        """Send the replies, wake the workers that waited, and end training if it is over; the rows are read later."""
        # Commits are views of their slots. Wait first: once answered, a worker overwrites its slot.
        jax.block_until_ready((self._server.center, self._server.state))
        for worker, reply in applied.replies.items():
            if worker in self._server.refused and self._anew:
                self._keepsakes.drop(worker)
            elif worker not in self._server.refused:  # refused ones get the center by value: it may not fit
                self._down.write(reply, self._slots.down(worker, self._server.applied[worker]))
        now = time.perf_counter()
        self._updated, self._server_s = now - self._began, (now - began) / max(1, len(applied.deliveries))
        self._unread = self._server.measure(applied)
        self._members.applied(applied)
        if self._stop["updates"] is not None and applied.version >= self._stop["updates"]:
            self.end("stopped", f"stop.updates={self._stop['updates']} reached")
        elif self._stop["seconds"] is not None and self._updated >= self._stop["seconds"]:
            self.end("stopped", f"stop.seconds={self._stop['seconds']} reached")
        self._end_if_over()
        self._wake([worker for worker in self._waiting if not self._server.waits(worker)])

    def _end_if_over(self) -> None:
        """End training if too few workers are left, unless there is work that workers who are done can take over."""
        if self._server.admission.over and not self._members.orphans:
            self.end("done", None)

    def _read(self) -> None:
        """Read the rows of the last update and keep its center for evaluation; training ends if it diverged."""
        if self._unread is None:
            return
        applied, self._unread = self._unread, None
        try:
            self._rows += self._server.rows(applied, self._updated, lambda worker: self._server_s, self._traffic.down)
        except Diverged as error:
            self._end("diverged", str(error))
            return
        self._samples += applied.samples
        if applied.deliveries and applied.version % self._evaluate_every == 0:
            self._snapshots.add(applied.version, self._updated, self._samples, self._server.result)

    def _wake(self, workers: list[int]) -> None:
        for worker in workers:
            if waiting := self._waiting.pop(worker, None):
                waiting.set_result(None)

    def _end(self, status: str, reason: str | None) -> None:
        self._ended = self._ended or (status, reason)
        self._wake(list(self._waiting))
        self._members.end()

    def end(self, status: str, reason: str | None) -> None:
        """End training: no further commit is applied, and every worker is told to stop."""
        self._read()  # else a divergence in the last update would not be reported
        self._end(status, reason)

    def news(self, seen: int, events: int) -> tuple[list[Row], list[Row], int, tuple[str, str | None] | None]:
        """Return rows of commits and events, the number of snapshots, and status and reason once training ended.

        The same rows are returned again until a later call says that they arrived.

        Args:
            seen: rows of commits that arrived before.
            events: rows of events that arrived before.
        """
        self._read()
        del self._rows[: seen - self._forgotten]
        self._forgotten = seen
        return self._rows, self._members.events[events:], len(self._snapshots), self._ended

    def close(self) -> int:
        """Take a last snapshot of the center, and return the number of snapshots."""
        self._read()
        if self._ended is None or self._ended[0] not in ("diverged", "failed"):
            self._server.finish()
        if self._snapshots.last < self._server.version:
            self._snapshots.add(self._server.version, self._updated, self._samples, self._server.result)
        return len(self._snapshots)

    def describe(self) -> dict[str, Any]:
        """Return what `run.json` says about the server: the number of calls of `exchange`, repeated ones included."""
        return {"exchanges": self._exchanges}

    def snapshot(self, index: int) -> tuple[dict[str, Any], Params]:
        """Return `update`, `time_s` and `samples` of a snapshot, and its center."""
        return self._snapshots.get(index)
