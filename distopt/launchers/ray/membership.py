"""Who may commit, and where each goes on: incarnations of workers, and the budgets of those who are gone."""

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
    """Where a worker goes on: steps `first_step` to `end` of the budget of `owner`.

    `taken` over as one window of what somebody left who was lost: maybe the worker itself, in an earlier life.
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
    """What a worker goes on with, and from what center; None: from where it is."""

    sequence: int  # of its last commit that was applied
    place: Place
    center: Params | None = None
    kept: np.ndarray | None = None  # what it had then besides its parameters; None: it has nothing


class Members:
    """The workers of a run as their server knows them, and what happens to them as rows of the table `events`."""

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
        self._idle: dict[int, asyncio.Future[None]] = {}  # workers with nothing to do, in case others leave some
        self._answers: dict[int, tuple[tuple[int, int], Start]] = {}  # the last question of each worker, and its answer

    def save(self) -> dict[str, Any]:
        """Return what `load` needs to go on, as JSON can hold it."""
        return {"places": list(self.places), "orphans": list(self.orphans)}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned; every worker will ask where it is."""
        self.places = [Place(*place) for place in saved["places"]]
        self.orphans = deque(Place(*place) for place in saved["orphans"])

    def note(self, worker: int, kind: str, reason: str = "", lost_steps: int = 0, *, kept: bool = False) -> None:
        """Write an event."""
        place = self.places[worker]
        told = (self._server.version, self._clock(), worker, kind, reason, lost_steps, self._server.applied[worker])
        self.events.append(Event(*told, place.owner, place.first_step, int(kept)).row())

    def refused(self, worker: int, incarnation: int, epoch: int) -> bool:
        """Return whether this sender is none of the present ones; that is noted."""
        if epoch != self._epoch:
            self.note(worker, "refused", f"sent to the server of epoch {epoch}; this is epoch {self._epoch}")
        elif incarnation != self.incarnation[worker]:
            self.note(worker, "refused", f"sent by incarnation {incarnation}, which was given up")
        else:
            return False
        return True

    def applied(self, applied: Applied) -> None:
        """Note how far the committers of an update have come, and what those go on with who are done."""
        for delivery in (*applied.deliveries, *([applied.dropped.delivery] if applied.dropped else [])):
            place = self.places[delivery.worker]
            place = place._replace(first_step=place.first_step + delivery.steps)
            if place.taken:  # one window, and it may have ended early
                place = self._leave(place, first=True)
            self.places[delivery.worker] = place
            if delivery.last:
                self._take_over(delivery.worker)
        self._wake()

    async def go_on(self, worker: int, sequence: int, incarnation: int, epoch: int) -> Start | None:
        """Return what a worker goes on with that is new (`sequence` −1) or done; None: nothing any more.

        It waits while it must not start yet, or while others are at work who might leave some. Asked again, it says
        the same again.
        """
        question = (incarnation, sequence)
        while not (self._over or self.refused(worker, incarnation, epoch)):
            answered, start = self._answers.get(worker, (None, None))
            if answered == question:
                return start
            if answered is not None and answered > question:  # a late copy, whose sender has had its answer
                return None
            if start := self._find(worker, new=sequence < 0):
                self._answers[worker] = question, start
                return start
            if not self._server.active:
                return None
            await asyncio.shield(self._idle.setdefault(worker, asyncio.get_running_loop().create_future()))
        return None

    def _find(self, worker: int, new: bool) -> Start | None:
        """Return what a worker can go on with now."""
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
        """Let a worker go on with the next window of a lost worker's budget, if there is any."""
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
        """Accept nothing more of an incarnation of some workers; return those it was the present one of."""
        lost = [worker for worker in workers if self.incarnation[worker] == incarnation]
        for worker in lost:
            self.note(worker, "lost", reason, min(self._window, self.places[worker].steps))
            self.incarnation[worker] += 1
            self._idle.pop(worker, None)
            self._server.forget(worker)
        return lost

    def orphan(self, workers: Sequence[int]) -> list[Applied]:
        """Leave the budgets of lost workers to the others; return what waited for nobody else."""
        for worker in workers:
            self.note(worker, "orphaned")
            place = self.places[worker]
            self.places[worker] = self._leave(place, first=place.taken)
        applied = self._server.lose(workers)
        self._wake()
        return applied

    def leave_work(self, workers: Sequence[int]) -> bool:
        """Return whether there is work that nobody does while some workers are gone."""
        return not self._over and (bool(self.orphans) or any(self.places[worker].steps > 0 for worker in workers))

    def _leave(self, place: Place, first: bool) -> Place:
        """Leave the steps of a place to others, before or after those that are left already."""
        if place.steps > 0:
            (self.orphans.appendleft if first else self.orphans.append)(place._replace(taken=False))
        return place._replace(end=place.first_step)

    def end(self) -> None:
        """Training is over: whoever waits is told so."""
        self._over = True
        self._wake()

    def _wake(self) -> None:
        for worker in list(self._idle):
            self._idle.pop(worker).set_result(None)
