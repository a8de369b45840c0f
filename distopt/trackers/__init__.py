"""Trackers: other tools' records of a run, kept next to our own; called in the driver alone, never by workers.

Each is a module with a function `start(config, info, folder, place) -> Tracker`. Whatever goes wrong in one is a
warning: it is dropped, and the run goes on.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from distopt.records import News

NAMES = ("tensorboard", "wandb", "mlflow")
IDENTITIES = {"update", "worker", "sequence", "time_s"}  # columns of a commit that are no measurements


class Tracker(Protocol):
    """What a tool is told."""

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """Take in measurements by name, made after an update."""

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Take in how the run ended and the numbers of `summary.json`, and close."""


class Tracking:
    """Hands a run's news to all its trackers, and drops those that fail."""

    def __init__(
        self,
        config: Mapping[str, Any],
        info: Mapping[str, Any],
        folder: Path,
        every: int,
        warn: Callable[[str], None],
    ) -> None:
        """Start the trackers in `config["trackers"]`.

        Args:
            config: the resolved configuration.
            info: what `run.json` says from the start.
            folder: the run's.
            every: updates over which the means of the commits' columns are taken.
            warn: told about each tracker that is dropped, once.
        """
        self._every = every
        self._warn = warn
        self._commits: list[dict[str, Any]] = []
        self._trackers: dict[str, Tracker] = {}
        place = Path(config["trackers_output"] or folder).absolute()
        for name in config["trackers"]:
            self._start(name, config, info, folder, place)

    def log(self, news: News) -> None:
        """Pass on the mean of every column of the commits, and the evaluations of the center."""
        if not self._trackers:
            return
        self._commits += news.commits
        if self._commits and self._commits[-1]["update"] - self._commits[0]["update"] + 1 >= self._every:
            self._flush()
        for row in news.evals:
            values = {f"{row['split']}/{metric}": row[metric] for metric in ("loss", "accuracy")}
            self._log(row["update"], values | {"time_s": row["time_s"]})

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Close all trackers."""
        if self._commits:
            self._flush()
        for name, tracker in list(self._trackers.items()):
            self._guarded(name, lambda tracker=tracker: tracker.finish(status, summary))  # type: ignore[misc]

    def _start(self, name: str, *arguments: Any) -> None:
        try:
            self._trackers[name] = importlib.import_module(f"{__name__}.{name}").start(*arguments)
        except ModuleNotFoundError as error:
            self._warn(f"trackers={name} needs {error.name}: pip install 'distopt[{name}]'; the run goes on without it")
        except Exception as error:  # other people's code; a run is worth more than its copy elsewhere
            self._warn(_dropped(name, error))

    def _flush(self) -> None:
        rows, self._commits = self._commits, []
        names = [name for name, value in rows[0].items() if name not in IDENTITIES and isinstance(value, int | float)]
        means = {f"commits/{name}": _mean([row.get(name, math.nan) for row in rows]) for name in names}
        self._log(rows[-1]["update"], means | {"time_s": rows[-1]["time_s"]})

    def _log(self, update: int, values: Mapping[str, float]) -> None:
        finite = {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}
        for name, tracker in list(self._trackers.items()):
            self._guarded(name, lambda tracker=tracker: tracker.log(update, finite))  # type: ignore[misc]

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # as above
            del self._trackers[name]
            self._warn(_dropped(name, error))


def _dropped(name: str, error: Exception) -> str:
    reason = (str(error).strip() or "no reason given").splitlines()[0]
    return f"trackers={name} is dropped, the run goes on: {type(error).__name__}: {reason}"


def _mean(values: Sequence[float]) -> float:
    """Return the mean of what is known: a dropped commit has no norm."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
