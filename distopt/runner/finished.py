"""The results of earlier runs: which configurations have one already, and how long they took."""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from distopt.errors import ResultsError
from distopt.files.lock import Claim, Lock
from distopt.files.untrusted import BROKEN, read_mapping, reason
from distopt.records import ANSWERED, FINISHED
from distopt.runs import checkpoints
from distopt.runs.recorder import named_after


class Past(NamedTuple):
    """An earlier run, which ended by itself or was cut off."""

    folder: Path
    status: str
    code: str  # hash of the code that computed it


class History:
    """The runs directly below some folders, each `run.json` read once; grows as a sweep goes on."""

    def __init__(self, outputs: Iterable[str | Path], fingerprint: str | None = None) -> None:
        """Read them; with a fingerprint only those that are named after it, as runs are that have no name of their own.

        Args:
            outputs: the folders.
            fingerprint: of a configuration.
        """
        self.problems: list[str] = []  # a line for each `run.json` that cannot be read
        runs = "[!.]*" if fingerprint is None else f"[!.]*-{named_after(fingerprint)}*"
        self._past: dict[str, list[Past]] = defaultdict(list)
        self._cut: dict[str, list[Past]] = defaultdict(list)
        self._seconds: dict[str, list[float]] = defaultdict(list)
        for path in sorted(path for output in set(outputs) for path in Path(output).glob(f"{runs}/run.json")):
            try:
                self.add(path.parent.absolute(), read_mapping(path))
            except BROKEN as error:
                self.problems.append(f"{path}: cannot be read ({reason(error)}); its run does not count as finished")

    def add(self, folder: Path, info: Mapping[str, Any]) -> None:
        """Add a run by its `run.json`; it counts as finished if it ended by itself and has a summary."""
        status, seconds = info.get("status"), info.get("total_s")
        past = Past(folder, str(status), info.get("code", ""))
        if status not in ANSWERED or not (folder / "summary.json").is_file():
            self._cut[info.get("fingerprint", "")].append(past)
            return
        self._past[info.get("fingerprint", "")].append(past)
        if status in FINISHED and seconds is not None:
            self._seconds[info.get("workload", "")].append(float(seconds))

    def answer(self, fingerprint: str, code: str) -> Past | None:
        """Return a run of the same configuration, by the same code if there is one, else by other code."""
        found = self._past.get(fingerprint, [])
        return next((past for past in found if past.code == code), found[-1] if found else None)

    def unfinished(self, fingerprint: str, code: str) -> Path | None:
        """Return a run of the same configuration, by the same code, that was cut off and can go on."""
        return next((past.folder for past in self._cut.get(fingerprint, []) if _can_go_on(past, code)), None)

    def seconds(self, workload: str) -> list[float]:
        """Return the wall times of the runs that did the same amount of work."""
        return self._seconds.get(workload, [])


def claim(output: str | Path, fingerprint: str, code: str) -> Claim:
    """Return a lock on making a run, which one process at a time has."""
    return Claim(Path(output).absolute() / f".{fingerprint[:16]}-{code[:16]}.claim")


def _can_go_on(past: Past, code: str) -> bool:
    """Return whether a run that was cut off left a checkpoint, and no process is at work on it."""
    if past.code != code or not checkpoints.exists(past.folder):
        return False
    try:
        Lock(past.folder).release()
    except ResultsError:
        return False
    return True


def expect(workloads: Iterable[str], history: History, so_far: Iterable[float] = ()) -> tuple[float | None, int]:
    """Return the expected wall time in seconds of runs made one after the other, and how many runs it is judged by.

    Each run counts with the median of earlier runs like it. Where there are none, it counts with the mean of the other
    medians and of what the runs `so_far` took. The time is None if nothing is known. The number is the largest number
    of earlier runs like one of them.
    """
    alike = [history.seconds(workload) for workload in workloads]
    medians = [statistics.median(seconds) if seconds else None for seconds in alike]
    known = [*(median for median in medians if median is not None), *so_far]
    if not known:
        return (None if medians else 0.0), 0
    typical = statistics.fmean(known)
    return sum(typical if median is None else median for median in medians), max(map(len, alike), default=0)
