"""Trackers: records of a run for other tools, besides distopt's own; only the driver calls them, never workers.

Each is a module with a function `start(config, info, folder, place) -> Tracker`. A tracker that fails is dropped with a
warning, and the run goes on.
"""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from distopt.records import News

NAMES = ("tensorboard", "wandb", "mlflow")
IDENTITIES = {"update", "worker", "sequence", "time_s"}  # columns of a commit that are not measurements


class Tracker(Protocol):
    """The interface to a tool."""

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """Record measurements by name, made after an update."""

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Record the run's status and the numbers of `summary.json`, and close."""


class Tracking:
    """Passes a run's news to all its trackers, and drops those that fail."""

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
            info: the content of `run.json` at the start.
            folder: the run's folder.
            every: updates over which the columns of commits are averaged.
            warn: called once with a message for each tracker that is dropped.
        """
        self._every = every
        self._metrics = info["metrics"]
        self._warn = warn
        self._commits: list[dict[str, Any]] = []
        self._trackers: dict[str, Tracker] = {}
        place = Path(config["trackers_output"] or folder).absolute()
        for name in config["trackers"]:
            self._start(name, config, info, folder, place)

    def log(self, news: News) -> None:
        """Pass on the means of the commits' columns and the evaluations of the center."""
        if not self._trackers:
            return
        self._commits += news.commits
        if self._commits and self._commits[-1]["update"] - self._commits[0]["update"] + 1 >= self._every:
            self._flush()
        for row in news.evals:
            values = {f"{row['split']}/{metric['name']}": row[metric["name"]] for metric in self._metrics}
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
        except Exception as error:  # third-party code may raise anything, and must not end the run
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
    """Return the mean of the finite values: a dropped commit has no norm."""
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
