"""The engine for small replicas: it holds updates back until one of their committers needs its next window.

Whenever the next commit in order needs a window that is not computed yet, the engine applies the updates held back, and
computes the windows of all idle workers together. Runs that differ only in seed may share the pool that does it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distopt.cluster import Update
from distopt.launchers.inprocess.loop import NOTHING, Rows, Taking, returned
from distopt.launchers.inprocess.vectorized.pool import STRETCH, Pool, Recorded
from distopt.records import Event, commit_row
from distopt.rules import Params
from distopt.runs.checkpoints import unpack
from distopt.training.batches import Itinerary
from distopt.training.experiment import Experiment
from distopt.training.messages import diverged
from distopt.training.shapes import shapes, traffic
from distopt.windows import Planned


def unsupported(experiment: Experiment) -> str | None:
    """Return what an experiment asks for that this engine cannot do; None if it can do everything.

    The engine makes commits together with their windows, computes windows ahead, and lets every committer adopt its
    reply at once.
    """
    rules = experiment.optimizer
    if experiment.guarded:
        return "commits that may be refused: it cannot leave one out of an update"
    if rules.worker.pull:
        return "workers that pull before they commit"
    if rules.synchrony.fetch > 1:
        return "commits without a reply"
    if not rules.synchrony.direct:
        return "commits that may be dropped, and workers that may be held back"
    if rules.worker.steps.until is not None and not isinstance(rules.worker.steps.until, Planned):
        return "windows whose end shows only as they are computed"
    return None


class Batched:
    """One run of a pool; see `distopt.launchers.inprocess.loop.Engine`."""

    def __init__(self, experiment: Experiment, pool: Pool, run: int) -> None:
        layout = shapes(experiment)
        self.samples = 0
        self.version = 0
        self.diverged: str | None = None
        self.events: list[Event] = []
        self._rules = experiment.optimizer
        self._pool = pool
        self._run = run
        self._batch_size = experiment.batch_size if experiment.dataset else 0
        self._period = experiment.optimizer.synchrony.period
        self._itineraries = [Itinerary(experiment, worker) for worker in range(experiment.workers)]
        self._idle = set(range(experiment.workers))
        self._traffic = traffic(layout, experiment.optimizer.synchrony)
        self._sequence = [0] * experiment.workers
        self._held: list[Update] = []
        self._committing: set[int] = set()
        self._unread: tuple[list[Update], Recorded] | None = None

    @property
    def result(self) -> Params:
        """Return the center, or the optimizer's `Result`, after the updates applied so far."""
        return self._pool.result(self._run)

    @property
    def steady(self) -> bool:
        """Return whether no update is held back: applying one early changes which windows are computed together."""
        return not self._held

    def save(self) -> tuple[Any, dict[str, Any]]:
        """Return the pool, which only this run uses, and the workers' places in their budgets."""
        return self._pool.save(), {
            "idle": sorted(self._idle),
            "version": self.version,
            "samples": self.samples,
            "sequence": list(self._sequence),
            "itineraries": [itinerary.save() for itinerary in self._itineraries],
        }

    def load(self, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        self._pool.load(unpack(self._pool.save(), arrays))
        self._idle, self._sequence = set(numbers["idle"]), list(numbers["sequence"])
        self.version, self.samples = numbers["version"], numbers["samples"]
        for itinerary, saved in zip(self._itineraries, numbers["itineraries"], strict=True):
            itinerary.load(saved)

    def take(self, update: Update) -> Taking:
        """Hold an update back; first apply the earlier ones if a committer must adopt. Return rows of earlier ones."""
        rows: Rows = []
        workers = {commit.worker for commit in update.commits}
        same = not self._held or len(self._held[0].commits) == len(update.commits)
        if update.returned or not same or workers & self._committing or len(self._held) >= STRETCH:
            rows = self._read()  # of the previous stretch, while the device computes windows
            yield from self._apply()
        self.events = []
        if update.returned:
            rows += self._read()  # else the events' sequence numbers would be behind
        for worker in update.returned:  # its window is lost: it takes the same steps again
            self._pool.pull(self._run, worker)
            if worker not in self._idle:
                self._itineraries[worker].back()
                self._idle.add(worker)
            itinerary, sequence = self._itineraries[worker], self._sequence[worker]
            self.events.append(returned(self._rules, update, self.version, itinerary, sequence))
        if workers & self._idle:
            yield from self._fly()
        self._held.append(update)
        self._committing |= workers
        self.version += 1
        self.samples += sum(commit.steps for commit in update.commits) * self._batch_size
        return rows

    def flush(self) -> Taking:
        """Apply the updates held back, in order; return all rows that were not returned yet."""
        rows = self._read()
        yield from self._apply()
        return rows + self._read()

    def finish(self) -> None:
        """Apply what the rule still keeps."""
        held = self.version % self._period
        if held:
            self._pool.finish(self._run, self._period - held)
            self.version += 1

    def _fly(self) -> Taking:
        """Compute the next windows of all idle workers that have steps left."""
        self._pool.fly(self._run, [it for it in self._itineraries if it.worker in self._idle and it.remaining > 0])
        self._idle.clear()
        while self._pool.flying(self._run):
            yield NOTHING
        return []

    def _apply(self) -> Taking:
        """Apply the updates held back; their rows are read later."""
        if not self._held or self.diverged:
            return []
        self._pool.serve(self._run, self._held)
        while (served := self._pool.served(self._run)) is None:
            yield NOTHING
        self._unread = self._held, served
        self._idle |= self._committing
        self._held, self._committing = [], set()
        return []

    def _read(self) -> Rows:
        """Return the rows of the updates applied last; notes the first one that was not finite."""
        if self._unread is None:
            return []
        (updates, recorded), self._unread = self._unread, None
        columns = recorded.read()
        bad = ~np.isfinite(columns["loss"]) | ~np.isfinite(columns["commit_norm"])
        first = self.version - len(self._held) - len(updates) + 1
        if bad.any():
            i, j = np.argwhere(bad)[0]
            who, loss, norm = updates[i].commits[j].worker, columns["loss"][i, j], columns["commit_norm"][i, j]
            self.diverged = diverged(first + i, who, loss, norm)
            updates = updates[:i]
        return self._rows(updates, first, {name: values.tolist() for name, values in columns.items()})

    def _rows(self, updates: list[Update], first: int, columns: dict[str, list[list[Any]]]) -> Rows:
        rows = []
        for i, update in enumerate(updates):
            for j, commit in enumerate(update.commits):
                self._sequence[commit.worker] += 1
                rows.append(
                    commit_row(
                        first + i,
                        commit.worker,
                        time_s=update.time_s,
                        steps=commit.steps,
                        samples=commit.steps * self._batch_size,
                        sequence=self._sequence[commit.worker],
                        bytes_up=self._traffic.up,
                        bytes_down=self._traffic.reply,
                        compute_s=commit.compute_s,
                        exchange_s=commit.exchange_s,
                        server_s=commit.server_s,
                        **{name: values[i][j] for name, values in columns.items()},
                    )
                )
        return rows
