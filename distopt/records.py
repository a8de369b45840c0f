"""What launchers tell about a run: rows of three tables, checkpoints, its end, and the seconds of its phases.

Launchers write these; everything that records, shows or reads runs reads them. No JAX, no pandas.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

Row = dict[str, Any]

STATUSES = ("running", "done", "stopped", "diverged", "failed", "interrupted")
ANSWERED = ("done", "stopped", "diverged")  # of runs with an end of their own: to leave out "diverged" would be bias
FINISHED = ("done", "stopped")  # the statuses of runs that trained to their end

KINDS = {
    "lost": "the worker is gone, or was silent for too long",
    "orphaned": "nobody continues the worker: what is left of its budget is given to the others",
    "replaced": "a new process hosts the worker, and has pulled the center",
    "returned": "the worker has pulled the center again",
    "taken over": "the worker goes on with a window of another one's budget",
    "refused": "a commit of an earlier life of the worker, or for an earlier server, was not applied",
}
"""What can happen to a run besides commits. A replay needs only commits and events."""
RESTARTS = ("replaced", "returned")
"""Kinds after which a worker starts from the current center; what it had computed since its last commit is lost."""


class Event(NamedTuple):
    """One row of the table `events`."""

    update: int  # the version of the center when it happened
    time_s: float  # on the run's clock; of the next update, where events have no time of their own
    worker: int
    kind: str  # one of `KINDS`
    reason: str = ""
    lost_steps: int = 0  # local steps of the window under way, which are taken again; an upper bound
    sequence: int = 0  # number of the worker's last commit that was applied
    owner: int = -1  # worker whose budget it continues: itself, except for `taken over`
    first_step: int = 0  # the step of that budget at which it continues
    kept: int = 0  # 1 if it continues with its local state at its last commit, 0 with a fresh one

    def row(self) -> Row:
        """Return the row of the table."""
        return self._asdict()


Kind = Literal["classes", "numbers", "tokens", "labels", "ratings", "ranking"]
"""What is to be predicted: a class, a number, the next token of a text, labels that hold or not, a user's rating, the
items of a user."""
BYTES = 256
"""The vocabulary of a text whose tokens are its bytes."""
SHOWN = "sample.txt"
"""The file in a run's folder with what the task shows of the final center."""
Better = Literal["higher", "lower"]


class Metric(NamedTuple):
    """A number that evaluations record of the center, and commits of their windows, in a column of its name."""

    name: str
    better: Better = "lower"
    unit: str = ""
    format: str = ".4f"  # of the value in words


ACCURACY, LOSS = Metric("accuracy", "higher"), Metric("loss")

COLUMNS: dict[str, tuple[str, ...]] = {
    "commits": (
        *("update", "worker", "staleness", "time_s", "steps", "samples", "loss"),
        *("commit_norm", "distance", "bytes_up", "bytes_down"),
    ),
    "evals": ("update", "time_s", "samples", "split", "loss"),
    "events": Event._fields,
}
"""The first columns of each table. Commits have more, see `commit_row`; evaluations the other metrics of the model."""


def commit_row(
    update: int,
    worker: int,
    staleness: int,
    time_s: float,
    *,
    steps: int,
    samples: int,
    sequence: int,
    bytes_up: int,
    bytes_down: int,
    compute_s: float,
    exchange_s: float,
    server_s: float,
    accepted: int = 1,
    **measured: float,
) -> Row:
    """Return a row of the table `commits`; every launcher makes its rows here.

    Args:
        update: number of the update that the commit was part of; for a dropped commit, the center's version then.
        worker: who committed.
        staleness: τ, updates applied since the worker pulled.
        time_s: when the update was applied, on the run's clock.
        steps: local steps of the window.
        samples: in these steps.
        sequence: number of the commit, 1, 2, … per worker.
        bytes_up: size of the message.
        bytes_down: size of what was sent back.
        compute_s: seconds of the window.
        exchange_s: seconds from sending the worker's previous commit to going on.
        server_s: seconds of the server's work on it.
        accepted: 0 if it was dropped.
        measured: the metrics of the window, `commit_norm`, `distance`, and the rule's own metrics.
    """
    return {
        "update": update,
        "worker": worker,
        "staleness": staleness,
        "time_s": time_s,
        "accepted": accepted,
        "steps": steps,
        "samples": samples,
        "compute_s": compute_s,
        "exchange_s": exchange_s,
        "server_s": server_s,
        "bytes_up": bytes_up,
        "bytes_down": bytes_down,
        "sequence": sequence,
        **measured,
    }


class Checkpoint(NamedTuple):
    """A run between two updates."""

    update: int  # updates applied
    time_s: float  # then, on the run's clock
    arrays: Mapping[str, np.ndarray]  # one for each leaf of what `distopt.runs.checkpoints.pack` was given
    numbers: Mapping[str, Any]  # what else the launcher needs to resume; JSON can hold it
    rows: Mapping[str, int] = {}  # number of rows of each table that were recorded before it
    run: Mapping[str, Any] = {}  # the run it belongs to: seed, fingerprint, code


class Outcome(NamedTuple):
    """How training ended."""

    status: str  # done, stopped, diverged, failed or interrupted
    reason: str | None
    center: dict[str, np.ndarray] | None  # the last finite center by name; None if it was lost
    details: dict[str, Any]  # for run.json: devices, actors, the virtual time, …


class News(NamedTuple):
    """What happened since the last news: rows for the tables `commits`, `evals` and `events`."""

    commits: list[Row]
    evals: list[Row]
    run: int = 0  # the experiment's place in the launcher's list
    checkpoint: Checkpoint | None = None  # taken after these rows and all earlier ones
    events: Sequence[Row] = ()
    undone: str | None = None  # why everything after the last checkpoint is undone; it will be repeated
    outcome: Outcome | None = None  # how training ended; these are then the last news of the run


Training = Generator[News, None, Outcome]
Launch = Generator[News, None, None]
Interrupted = Callable[[], bool]


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
        """Set the count back to the seconds at a checkpoint, and enter the phase `startup`."""
        self.seconds, self._phase, self._since = dict(seconds), "startup", time.perf_counter()

    def enter(self, phase: str) -> str:
        """Charge the time from now on to a phase; return the one before."""
        now = time.perf_counter()
        self.seconds[self._phase] += now - self._since
        previous, self._phase, self._since = self._phase, phase, now
        return previous
