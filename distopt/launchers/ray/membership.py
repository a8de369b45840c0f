"""Which workers may commit and where each continues: incarnations of workers, and the budgets of lost ones."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distopt.records import Event
from distopt.rules import Params
from distopt.training.messages import Applied
from distopt.training.server import Server


class Place(NamedTuple):
    """Where a worker continues: steps `first_step` to `end` of the budget of `owner`.

    taken: one window inherited from a lost worker, perhaps this one before its restart.
    """

    owner: int
    first_step: int
    end: int
    taken: bool = False

    @property
    def steps(self) -> int:
        """Return the local steps that are left."""
        return self.end - self.first_step


class Start(NamedTuple):
    """What a worker continues with, and from which center; None: from its own parameters."""

    sequence: int  # of its last commit that was applied
    place: Place
    center: Params | None = None
    kept: np.ndarray | None = None  # its local state at that commit; None: it starts with fresh state


class Members:
    """The workers of a run as their server knows them; records what happens to them as rows of the table `events`."""

    def __init__(
        self,
        server: Server,
        budget: Sequence[int],
        window: int,
        epoch: int,
        clock: Callable[[], float],
        kept: Callable[[int, int], np.ndarray | None] = lambda worker, sequence: None,
    ) -> None:
        self.places = [Place(worker, 0, int(steps)) for worker, steps in enumerate(budget)]
        self.incarnation = [0] * len(budget)
        self.orphans: deque[Place] = deque()
        self.events: list[dict[str, Any]] = []
        self._server = server
        self._window = window
        self._epoch = epoch
        self._clock = clock
        self._kept = kept
        self._over = False
        self._idle: dict[int, asyncio.Future[None]] = {}  # workers without work, which wait for work of lost ones
        self._answers: dict[int, tuple[tuple[int, int], Start]] = {}  # the last question of each worker, and its answer

    def save(self) -> dict[str, Any]:
        """Return the state for `load`; JSON can hold it."""
        return {"places": list(self.places), "orphans": list(self.orphans)}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Restore what `save` returned; every worker will ask where to continue."""
        self.places = [Place(*place) for place in saved["places"]]
        self.orphans = deque(Place(*place) for place in saved["orphans"])

    def note(self, worker: int, kind: str, reason: str = "", lost_steps: int = 0, *, kept: bool = False) -> None:
        """Record an event."""
        place = self.places[worker]
        told = (self._server.version, self._clock(), worker, kind, reason, lost_steps, self._server.applied[worker])
        self.events.append(Event(*told, place.owner, place.first_step, int(kept)).row())

    def refused(self, worker: int, incarnation: int, epoch: int) -> bool:
        """Return whether a call comes from an earlier incarnation or for an earlier server; record it if so."""
        if epoch != self._epoch:
            self.note(worker, "refused", f"sent to the server of epoch {epoch}; this is epoch {self._epoch}")
        elif incarnation != self.incarnation[worker]:
            self.note(worker, "refused", f"sent by incarnation {incarnation}, which was given up")
        else:
            return False
        return True

    def applied(self, applied: Applied) -> None:
        """Advance the places of an update's committers; let those that are done take over work of lost workers."""
        for delivery in (*applied.deliveries, *([applied.dropped.delivery] if applied.dropped else [])):
            place = self.places[delivery.worker]
            place = place._replace(first_step=place.first_step + delivery.steps)
            if place.taken:  # one window, which may have ended early: its rest goes back to the orphans
                place = self._leave(place, first=True)
            self.places[delivery.worker] = place
            if delivery.last:
                self._take_over(delivery.worker)
        self._wake()

    async def go_on(self, worker: int, sequence: int, incarnation: int, epoch: int) -> Start | None:
        """Return where a worker continues that is new (`sequence` −1) or done with its place; None: it stops.

        The call waits while the worker must not start yet, or while active workers may still be lost and leave work.
        A repeated question gets the same answer.
        """
        question = (incarnation, sequence)
        while not (self._over or self.refused(worker, incarnation, epoch)):
            answered, start = self._answers.get(worker, (None, None))
            if answered == question:
                return start
            if answered is not None and answered > question:  # a late copy; its sender has the answer already
                return None
            if start := self._find(worker, new=sequence < 0):
                self._answers[worker] = question, start
                return start
            if not self._server.active:
                return None
            await asyncio.shield(self._idle.setdefault(worker, asyncio.get_running_loop().create_future()))
        return None

    def _find(self, worker: int, new: bool) -> Start | None:
        """Return where a worker can continue now; None: nowhere yet."""
        waited = not new and self.places[worker].steps == 0
        sequence = self._server.applied[worker]
        if not (new or waited):
            return Start(sequence, self.places[worker])
        if self._server.waits(worker) if new else not self._take_over(worker):
            return None
        if new and self.incarnation[worker]:
            kind, reason = "replaced", ""
        elif new:
            kind, reason = "returned", "its server was restored" if self._epoch else "it starts late"
        else:
            kind, reason = "returned", "it was done when others left work"
        kept = self._kept(worker, sequence)
        self.note(worker, kind, reason, kept=kept is not None)
        return Start(sequence, self.places[worker], self._server.pull(worker), kept)

    def _take_over(self, worker: int) -> bool:
        """Give a worker the next window of a lost worker's budget; return whether there was one."""
        if not self.orphans:
            return False
        orphan = self.orphans.popleft()
        first, end = orphan.first_step, min(orphan.first_step + self._window, orphan.end)
        if end < orphan.end:
            self.orphans.appendleft(orphan._replace(first_step=end))
        self.places[worker] = Place(orphan.owner, first, end, taken=True)
        self._server.join(worker)
        self.note(worker, "taken over")
        return True

    def lose(self, workers: Sequence[int], incarnation: int, reason: str) -> list[int]:
        """Refuse further calls of an incarnation of some workers; return the workers whose current one it was."""
        lost = [worker for worker in workers if self.incarnation[worker] == incarnation]
        for worker in lost:
            self.note(worker, "lost", reason, min(self._window, self.places[worker].steps))
            self.incarnation[worker] += 1
            self._idle.pop(worker, None)
            self._server.forget(worker)
        return lost

    def orphan(self, workers: Sequence[int]) -> list[Applied]:
        """Leave the budgets of lost workers to the others; return the updates that waited only for the lost ones."""
        for worker in workers:
            self.note(worker, "orphaned")
            place = self.places[worker]
            self.places[worker] = self._leave(place, first=place.taken)
        applied = self._server.lose(workers)
        self._wake()
        return applied

    def leave_work(self, workers: Sequence[int]) -> bool:
        """Return whether the loss of some workers leaves work undone."""
        return not self._over and (bool(self.orphans) or any(self.places[worker].steps > 0 for worker in workers))

    def _leave(self, place: Place, first: bool) -> Place:
        """Leave the remaining steps of a place to others, first or last in line; return the place without them."""
        if place.steps > 0:
            (self.orphans.appendleft if first else self.orphans.append)(place._replace(taken=False))
        return place._replace(end=place.first_step)

    def end(self) -> None:
        """End training: wake every waiting worker, which then stops."""
        self._over = True
        self._wake()

    def _wake(self) -> None:
        for worker in list(self._idle):
            self._idle.pop(worker).set_result(None)
