"""Which runs of a configuration count: each seed once, however many folders there are of it.

A run in virtual time is a function of configuration, seed and code: made again it says nothing new, so the newest
complete one counts. On the wall clock runs differ, so all complete ones count, as repetitions within their seed. An
attempt that broke off counts if nothing followed it: else a later one has superseded it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from distopt.records import ANSWERED
from distopt.runs.results import Run

COPY, REPEATED, SUPERSEDED = "a copy", "repeated in virtual time", "an attempt that another one followed"


class LeftOut(NamedTuple):
    """A run that does not count."""

    run: Run
    reason: str


class Counted(NamedTuple):
    """The runs of a configuration that count, ordered by seed, and the others."""

    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]


def count(runs: Iterable[Run]) -> Counted:
    """Sort the runs of one configuration into those that count and those that do not.

    Neither the names of the folders nor their order make a difference, apart from which of two copies is taken.
    """
    by_seed: dict[int, list[Run]] = {}
    for run in sorted(runs, key=_age):
        by_seed.setdefault(run.seed, []).append(run)
    kept: list[Run] = []
    left_out: list[LeftOut] = []
    for seed in sorted(by_seed):
        taken, others = _one_seed(by_seed[seed])
        kept += taken
        left_out += others
    return Counted(tuple(kept), tuple(left_out))


def told(left_out: Sequence[LeftOut]) -> str:
    """Return in words how many folders do not count and why; empty if all do."""
    if not left_out:
        return ""
    reasons = [one.reason for one in left_out]
    each = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dict.fromkeys(sorted(reasons)))
    return f"{len(reasons)} folder{'s' * (len(reasons) > 1)} left out: {each}"


def _one_seed(runs: Sequence[Run]) -> tuple[list[Run], list[LeftOut]]:
    """Return the runs of one seed that count, and the others; they are given from the oldest to the newest."""
    complete = [run for run in runs if run.status in ANSWERED]
    if not complete:
        return [runs[-1]], [LeftOut(run, COPY if _same(run, runs[-1]) else SUPERSEDED) for run in runs[:-1]]
    left_out = [LeftOut(run, SUPERSEDED) for run in runs if run.status not in ANSWERED]
    distinct: list[Run] = []
    for run in complete:
        if any(_same(run, other) for other in distinct):
            left_out.append(LeftOut(run, COPY))
        else:
            distinct.append(run)
    if complete[0].info["clock"] == "virtual":
        left_out += [LeftOut(run, REPEATED) for run in distinct[:-1]]
        distinct = distinct[-1:]
    return distinct, left_out


def _age(run: Run) -> tuple[str, str]:
    """Return a key that sorts runs by when they began, copies of one run by their folder."""
    return str(run.info.get("started", "")), str(run.folder)


def _same(run: Run, other: Run) -> bool:
    """Return whether two folders hold the same run: it began at one moment on one machine, with one end."""
    told = [(each.info.get("started"), each.status, (each.info.get("host") or {}).get("name")) for each in (run, other)]
    return told[0][0] is not None and told[0] == told[1]
