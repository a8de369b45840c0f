"""Launchers: what runs workers and server.

Each module has `launch`, a generator of news that takes a list of experiments, with the outcome of each; `TOGETHER`
says whether the list may have several, which then differ in nothing but the seed; `check`, which returns warnings about
an experiment and refuses what cannot run; and `CLOCK`, `wall` or `virtual`.

A launcher never asks which algorithm it runs. It promises: updates are serial; the commits of one update are ordered by
worker; a worker's parameters change only by its own steps and by `adopt`; batches, initial values and keys depend on
(seed, worker, step) alone. So a run is a pure function of (configuration, seed, commit order).
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from distopt.checkpoints import Checkpoint  # imports JAX, which readers of results need not wait for

FINISHED = ("done", "stopped")  # the statuses of runs that trained to their end


class Outcome(NamedTuple):
    """How training ended."""

    status: str  # done, stopped, diverged, failed or interrupted
    reason: str | None
    center: dict[str, np.ndarray] | None  # the last finite center by name; None if it was lost
    details: dict[str, Any]  # for run.json: devices, actors, the virtual time, …


class News(NamedTuple):
    """What happened since the last news: rows for the tables `commits`, `evals` and `events`."""

    commits: list[dict[str, Any]]
    evals: list[dict[str, Any]]
    run: int = 0  # the experiment's place in the launcher's list
    checkpoint: "Checkpoint | None" = None  # taken after these rows and all earlier ones
    events: Sequence[dict[str, Any]] = ()
    undone: str | None = None  # why everything after the last checkpoint is: it will be done anew
    outcome: Outcome | None = None  # these are the last news of the run


class Watch:
    """Splits the seconds since it was made into phases that add up."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("startup", "compile", "train", "evaluate"), 0.0)
        self._phase, self._since = "startup", time.perf_counter()

    def spent(self) -> dict[str, float]:
        """Return the seconds of each phase so far."""
        return self.seconds | {self._phase: self.seconds[self._phase] + time.perf_counter() - self._since}

    def add(self, seconds: Mapping[str, float]) -> None:
        """Count the seconds that an earlier part of the run took."""
        self.seconds = {phase: value + seconds[phase] for phase, value in self.seconds.items()}

    def back(self, seconds: Mapping[str, float]) -> None:
        """Forget what has been counted but for the seconds that led to a checkpoint."""
        self.seconds, self._phase, self._since = dict(seconds), "startup", time.perf_counter()

    def enter(self, phase: str) -> str:
        """Charge the time from now on to a phase; return the one before."""
        now = time.perf_counter()
        self.seconds[self._phase] += now - self._since
        previous, self._phase, self._since = self._phase, phase, now
        return previous


Training = Generator[News, None, Outcome]
Launch = Generator[News, None, None]
Interrupted = Callable[[], bool]
