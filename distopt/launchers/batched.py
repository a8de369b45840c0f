"""Training of many small replicas at once: windows in vectorized batches, commits one by one inside one program.

The windows in flight are independent of each other: a window depends only on what its worker adopted. So whenever the
next commit in order needs a window that is not computed yet, all idle workers' windows are computed together. Commits
whose windows are there are applied in order by a scan over the server rule. All replicas live in arrays with one row
per worker; programs read and write only the rows concerned.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from distopt.cluster import Update
from distopt.experiment import Experiment
from distopt.launchers import Watch
from distopt.launchers.fleet import Programs
from distopt.programs import shared
from distopt.replica import Batches, Itinerary, Replica, shapes
from distopt.rules import Params
from distopt.server import diverged
from distopt.trees import tree_bytes

CACHE_BYTES = 2**20  # replicas of one batch should fit in a core's cache: beyond it a batch is slower than a loop
MOST = 1024


def width(experiment: Experiment, replica: Replica) -> int:
    """Return how many windows one batch should hold at most."""
    if experiment.config["launcher"].get("width"):
        return experiment.config["launcher"]["width"]
    position = replica.begin()
    fits = CACHE_BYTES // max(tree_bytes((position.params, position.local)), 1)
    return power_of_four(min(max(fits, 1), MOST, experiment.workers))


def power_of_four(number: int) -> int:
    """Return the largest power of four up to a number: batches come in few sizes, as each is a program to compile."""
    return 4 ** ((number.bit_length() - 1) // 2)


def chunks(workers: list[int], most: int) -> Iterator[list[int]]:
    """Split workers into batches of few sizes, none of them padded."""
    while workers:
        size = min(most, power_of_four(len(workers)))
        yield workers[:size]
        workers = workers[size:]


class Windows:
    """Which workers have a computed window, and the batches of those that do not."""

    def __init__(self, experiment: Experiment, most: int) -> None:
        self._itineraries = [Itinerary(experiment, worker) for worker in range(experiment.workers)]
        self._most = most
        self.idle = set(range(experiment.workers))

    def recall(self, worker: int) -> None:
        """Note that a worker's window was lost: it takes the same steps again."""
        if worker not in self.idle:
            self._itineraries[worker].back()
            self.idle.add(worker)

    def batches(self) -> Iterator[Batches]:
        """Yield the next windows of all idle workers that have steps left, in batches of equal length."""
        by_steps: dict[int, list[int]] = {}
        for worker in sorted(self.idle):
            itinerary = self._itineraries[worker]
            if itinerary.remaining > 0:
                by_steps.setdefault(min(itinerary.window, itinerary.remaining), []).append(worker)
        self.idle.clear()
        for steps, workers in by_steps.items():
            for some in chunks(workers, self._most):
                each = [self._itineraries[worker].next() for worker in some]
                yield Batches(
                    np.array(some, np.int32),
                    np.array([b.first_step for b in each], np.int32),
                    np.int32(steps),
                    np.stack([b.indices for b in each]),
                )


class Batched:
    """Computes windows in batches of up to `most`; see `distopt.launchers.inline.Engine`."""

    def __init__(self, experiment: Experiment, replica: Replica, watch: Watch, most: int) -> None:
        layout = shapes(experiment)
        self.samples = 0
        self.version = 0
        self.diverged: str | None = None
        self._experiment = experiment
        self._replica = replica
        self._watch = watch
        self._programs: Programs = shared(experiment, "batched", lambda: Programs(experiment, replica))
        self._fleet, self._central = self._programs.begin(replica.begin(), layout.message)
        self._windows = Windows(experiment, most)
        self._bytes = {"bytes_up": tree_bytes(layout.message), "bytes_down": tree_bytes(layout.reply)}
        self._sequence = np.zeros(experiment.workers, np.int64)
        self._held: list[Update] = []
        self._committing: set[int] = set()

    @property
    def center(self) -> Params:
        """Return the center after the updates applied so far."""
        return self._central.center

    def take(self, update: Update) -> list[dict[str, Any]]:
        """Hold an update back until one of its committers has to land first; return rows of what was applied then."""
        rows = []
        workers = {commit.worker for commit in update.commits}
        same = not self._held or len(self._held[0].commits) == len(update.commits)
        if update.returned or not same or workers & self._committing or len(self._held) >= MOST:
            rows = self.flush()
        for worker in update.returned:
            self._fleet = self._programs.pull(self._fleet, self._central, self._replica.begin(), np.int32(worker))
            self._windows.recall(worker)
        if workers & self._windows.idle:
            for batches in self._windows.batches():
                with self._compiling(batches.worker.shape):
                    self._fleet = self._programs.fly(self._fleet, batches, self._replica.step_key, self._replica.data)
        self._held.append(update)
        self._committing |= workers
        self.version += 1
        self.samples += sum(commit.steps for commit in update.commits) * self._batch_size
        return rows

    @contextmanager
    def _compiling(self, shape: tuple[int, ...]) -> Iterator[None]:
        """Charge the first call for each shape to compilation: the call returns when the program is there."""
        if shape in self._programs.compiled:
            yield
            return
        phase = self._watch.enter("compile")
        yield
        self._programs.compiled.add(shape)
        self._watch.enter(phase)

    @property
    def _batch_size(self) -> int:
        return self._experiment.batch_size if self._experiment.dataset else 0

    def flush(self) -> list[dict[str, Any]]:
        """Apply the updates held back, in order; return their rows."""
        if not self._held or self.diverged:
            return []
        ids = np.array([[commit.worker for commit in update.commits] for update in self._held], np.int32)
        size = power_of_four(len(ids))
        padded = np.zeros((size if size == len(ids) else 4 * size, ids.shape[1]), np.int32)
        padded[: len(ids)] = ids
        with self._compiling(padded.shape):
            self._fleet, self._central, served = self._programs.serve(
                self._fleet, self._central, padded, np.int32(len(ids))
            )
        rows = self._rows(jax.device_get(served))
        self._windows.idle |= self._committing
        self._held, self._committing = [], set()
        return rows

    def _rows(self, served: Any) -> list[dict[str, Any]]:
        """Return the rows of the updates applied; notes the first one that was not finite."""
        first, rows = self.version - len(self._held) + 1, []
        measured = {**served._asdict(), **served.metrics}
        del measured["metrics"]
        columns = {name: value.tolist() for name, value in measured.items()}
        for i, update in enumerate(self._held):
            bad = ~np.isfinite(served.loss[i]) | ~np.isfinite(served.commit_norm[i])
            if bad.any():
                j = int(bad.argmax())
                self.diverged = diverged(
                    first + i, update.commits[j].worker, served.loss[i, j], served.commit_norm[i, j]
                )
                break
            for j, commit in enumerate(update.commits):
                self._sequence[commit.worker] += 1
                row = {
                    "update": first + i,
                    "worker": commit.worker,
                    "time_s": update.time_s,
                    "steps": commit.steps,
                    "samples": commit.steps * self._batch_size,
                    "compute_s": commit.compute_s,
                    "exchange_s": commit.exchange_s,
                    "server_s": commit.server_s,
                    "sequence": int(self._sequence[commit.worker]),
                    **self._bytes,
                }
                rows.append(row | {name: values[i][j] for name, values in columns.items()})
        return rows
