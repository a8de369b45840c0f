"""The account of a disturbed run: whether each commit was applied once, the budget used up, the replay identical."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

import distopt
from distopt.runs.results import Run
from scripts.tools.processes import distopt as command


class Account(NamedTuple):
    """One disturbed run."""

    name: str  # the optimizer, and the kind of disturbance
    on_worker_loss: str
    faults: dict[str, int]  # by kind
    calls: int  # commits that reached the server, with repeated sends
    applied: int  # rows of the table `commits`
    duplicated: int  # commits applied more than once
    lost: int  # commits missing before a later one, plus local steps of the budget that no worker took
    identical: bool  # the replay's center has the same bits as the run's
    accuracy: float  # of the final center on the validation data
    expected: tuple[float, float] | None  # 95 % prediction interval from undisturbed runs
    away_s: tuple[float, ...]  # from the last commit of a lost worker to the first of its replacement

    @property
    def as_expected(self) -> bool | None:
        """Return whether the accuracy is that of undisturbed runs; None without such runs."""
        return None if self.expected is None else self.expected[0] <= self.accuracy <= self.expected[1]


def account(
    folder: Path, done: Sequence[str], expected: tuple[float, float] | None = None, *, complete: bool = True
) -> Account:
    """Read the results of a disturbed run, and replay it.

    Args:
        folder: the run's folder.
        done: the kinds of the faults in its processes.
        expected: the prediction interval of its accuracy from undisturbed runs.
        complete: all local steps of the budget must be taken, because the optimizer does not end training early.
    """
    run = distopt.load(folder)
    faults = {kind: list(done).count(kind) for kind in sorted(set(done))}
    for actor in run.info["actors"]:  # the counts of killed actors are lost
        for kind, number in actor["faults"].items():
            faults[f"call: {kind}"] = faults.get(f"call: {kind}", 0) + number
    keys = run.commits[["worker", "sequence"]]
    missing = int(keys.groupby("worker")["sequence"].max().sum()) - len(keys.drop_duplicates())
    untaken = run.info["local_steps"] - int(run.commits["steps"].sum()) if run.status == "done" and complete else 0
    return Account(
        run.optimizer,
        run.config["launcher"]["on_worker_loss"],
        faults,
        int(run.info["exchanges"]),
        len(keys),
        int(keys.duplicated().sum()),
        missing + abs(untaken),
        command("replay", str(folder), cwd=folder).returncode == 0,  # a process with as many threads as a worker
        float(run.summary["validation_accuracy_final"]),
        expected,
        _away(run),
    )


def _away(run: Run) -> tuple[float, ...]:
    seconds = []
    for event in run.events[run.events["kind"] == "replaced"].itertuples():
        own = run.commits[run.commits["worker"] == event.worker]
        before, after = own["time_s"][own["time_s"] < event.time_s], own["time_s"][own["time_s"] > event.time_s]
        if len(before) and len(after):
            seconds.append(float(after.iloc[0] - before.iloc[-1]))
    return tuple(seconds)


def interval(accuracies: Sequence[float], samples: int) -> tuple[float, float]:
    """Return Student's 95 % prediction interval for the accuracy of one more run.

    Each side is at least two validation samples wide.
    """
    values = np.asarray(accuracies)
    k = len(values)
    half = float(stats.t.ppf(0.975, k - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / k))
    half = max(half, 2 / samples)
    return float(values.mean() - half), float(values.mean() + half)


def frame(accounts: Sequence[Account]) -> pd.DataFrame:
    """Return one row per run."""
    rows: list[dict[str, Any]] = []
    for a in accounts:
        signals = sum(number for kind, number in a.faults.items() if not kind.startswith("call"))
        row = {"run": a.name, "on loss": a.on_worker_loss, "processes": signals}
        row |= {"calls": sum(a.faults.values()) - signals, "received": a.calls, "applied": a.applied}
        row |= {"duplicated": a.duplicated, "lost": a.lost, "replay": "identical" if a.identical else "different"}
        row |= {"accuracy": a.accuracy, "low": a.expected[0] if a.expected else None}
        row |= {"high": a.expected[1] if a.expected else None}
        row |= {"away_s": float(np.median(a.away_s)) if a.away_s else None}
        rows.append(row)
    return pd.DataFrame(rows)
