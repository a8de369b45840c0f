"""Repeats a recorded commit order, which proves that a launcher lost, duplicated or reordered no commit."""

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distopt.cluster import Commit, Joined, Update
from distopt.errors import ResultsError
from distopt.files.untrusted import BROKEN, read_csv, reason
from distopt.launchers.inprocess.loop import train
from distopt.launchers.inprocess.one_by_one import Single
from distopt.metrics import staleness
from distopt.records import COLUMNS, RESTARTS, Interrupted, Launch, News, Watch
from distopt.runs import results
from distopt.settings import flat
from distopt.training.admission import Admission
from distopt.training.experiment import Experiment
from distopt.training.worker_programs import Replica

CLOCK = "virtual"
TIMES = {"time_s", "compute_s", "exchange_s", "server_s"}
TOGETHER = False
FREE = {
    "launcher",
    "cluster",
    "experiment",
    "evaluate",
    "stop",
    "output",
    "name",
    "resume",
    "checkpoint",
    "seeds",
    "trackers",
    "trackers_output",
}  # settings that may differ in a replay

ADDED = {"on_bad_commit": "stop"}  # settings that older runs lack, with the value those runs acted on


def check(experiment: Experiment) -> list[str]:
    """Return warnings; raises ResultsError if the trace cannot be one of this experiment."""
    path = Path(experiment.config["launcher"]["trace"])
    frame, events = read_trace(path), read_events(path)
    shrank = bool((events["kind"] == "orphaned").any())
    verify(frame, experiment, shares(frame, events), _happened(frame, events), shrank=shrank)
    if not path.is_dir():
        return []
    recorded = results.load(path)
    if unlike := differences(recorded.config, experiment.config):
        raise ResultsError(f"launcher.trace={path}: is of another configuration: {'; '.join(unlike)}")
    rules = experiment.optimizer
    fetch = rules.synchrony.fetch
    if staleness.contradictions(recorded.commits, events, pulls=rules.pulls_apart, fetch=fetch):
        raise ResultsError(
            f"launcher.trace={path}: its workers pulled the center without a commit, and no events say when; run it "
            "once more instead: virtual time gives the same run for the same seed"
        )
    actors = recorded.info.get("actors") or []
    if actors:  # the same bits need the same threads; JAX reads this when it first computes
        os.environ["PJRT_NPROC"] = str(actors[0]["threads"])
    return []


def launch(experiments: Sequence[Experiment], watch: Watch, interrupted: Interrupted) -> Launch:
    """Train in the order of `launcher.trace`; see `distopt.launchers`."""
    (experiment,) = experiments
    path = Path(experiment.config["launcher"]["trace"])
    frame, events = read_trace(path), read_events(path)
    watch.enter("compile")
    replica = Replica(experiment)
    engine = Single(experiment, replica)
    pulls = _pulls(frame) if experiment.optimizer.worker.pull else {}
    order = _updates(frame, shares(frame, events), pulls, _happened(frame, events), _keeps(events))
    outcome = yield from train(experiment, order, engine, replica, watch, interrupted)
    yield News([], [], outcome=outcome)


def read_trace(path: Path) -> pd.DataFrame:
    """Read a commit order: a run's folder, or a CSV with a column `worker` and optionally `steps` and `time_s`.

    Raises:
        ResultsError: nothing readable there.
    """
    try:
        frame = results.load(path).commits if path.is_dir() else read_csv(path)
        whole = {name: frame[name].astype("int64") for name in ("worker", "steps") if name in {"worker", *frame}}
        if strange := [name for name, values in whole.items() if (values != frame[name]).any()]:
            raise ValueError(f"a {strange[0]} is not a whole number")
        for name in TIMES & set(frame):
            if not np.isfinite(frame[name].astype("float64")).all():
                raise ValueError(f"a {name} is not finite")
    except BROKEN as error:
        raise ResultsError(
            f"launcher.trace={path}: no commit order there ({reason(error)}); "
            "give a run's folder, or a CSV with a column worker"
        ) from None
    return frame.assign(**whole)


def read_events(path: Path) -> pd.DataFrame:
    """Return what happened besides the commits of a trace: the events of a run's folder."""
    return results.load(path).events if path.is_dir() else pd.DataFrame({name: [] for name in COLUMNS["events"]})


Pulls = Mapping[int, tuple[int, ...]]
"""Which workers pulled the center, by the number of the row before which they did."""
Happened = Mapping[int, Mapping[str, Any]]
"""Events besides the commits, as fields of `Update`, by the number of the row before which they happened."""
Shares = Sequence[tuple[int, int] | None]
"""For each commit, owner and first step of its window if it was taken over, else None."""


Keeps = Set[tuple[int, int]]
"""Commits, as worker and sequence number, whose local state the worker used when it returned after them."""


def _updates(
    frame: pd.DataFrame, shares: Shares, pulls: Pulls, happened: Happened, keeps: Keeps = frozenset()
) -> Iterator[Update]:
    """Yield each commit by itself, with the events just before it; the server finds the quorums again."""
    zeros = frame["worker"] * 0.0
    seconds = [frame.get(name, zeros).tolist() for name in ("compute_s", "exchange_s", "server_s")]
    windows = map(Commit, frame["worker"].tolist(), _steps(frame), *seconds)
    numbers = zip(frame["worker"].tolist(), frame.get("sequence", zeros).tolist(), strict=True)
    kept = [number in keeps for number in numbers]
    commits = [each._replace(share=share, kept=keep) for each, share, keep in zip(windows, shares, kept, strict=True)]
    for i, (commit, time_s) in enumerate(zip(commits, frame.get("time_s", zeros).tolist(), strict=True)):
        yield Update(time_s, (commit,), pulled=pulls.get(i, ()), **happened.get(i, {}))


def _keeps(events: pd.DataFrame) -> Keeps:
    if "kept" not in events:
        return set()
    rows = events[events["kept"] == 1]
    return set(zip(rows["worker"].astype(int), rows["sequence"].astype(int), strict=True))


def _firsts(frame: pd.DataFrame) -> dict[int, int]:
    """Return the number of the first row of each update."""
    first: dict[int, int] = {}
    for i, update in enumerate(frame.get("update", frame["worker"] * 0).tolist()):
        first.setdefault(update, i)
    return first


def _happened(frame: pd.DataFrame, events: pd.DataFrame) -> Happened:
    first, found = _firsts(frame), dict[int, dict[str, Any]]()
    for name, kinds in (("returned", RESTARTS), ("left", ("orphaned",)), ("joined", ("taken over",))):
        for version, told in events[events["kind"].isin(kinds)].groupby("update"):
            row = first.get(int(str(version)) + 1, len(frame))  # beyond the end: no commit followed
            who = told[list(Joined._fields)].astype(int).itertuples(index=False, name=None)
            joined = sorted({Joined(*each) for each in who})
            found.setdefault(row, {})[name] = tuple(joined if name == "joined" else sorted({k for k, *_ in joined}))
    return found


def shares(frame: pd.DataFrame, events: pd.DataFrame) -> Shares:
    """Return for each commit the owner and first step of its window if it was taken over, else None."""
    taken = events[events["kind"] == "taken over"]
    if taken.empty:
        return [None] * len(frame)
    keys = zip(taken["worker"].astype(int), taken["sequence"].astype(int) + 1, strict=True)
    values = zip(taken["owner"].astype(int), taken["first_step"].astype(int), strict=True)
    by_commit = dict(zip(keys, values, strict=True))
    return [by_commit.get(commit) for commit in zip(frame["worker"].tolist(), frame["sequence"].tolist(), strict=True)]


def _pulls(frame: pd.DataFrame) -> Pulls:
    """Return which workers pulled the center for their commits in `frame`, and before which rows.

    A commit of staleness τ in update u was made with the center of version u − 1 − τ, which is the one before the
    first commit of update u − τ. Without these columns, every worker pulls right before its commit.
    """
    if not {"update", "staleness"} <= set(frame):
        return {}
    first = _firsts(frame)
    pulls: dict[int, tuple[int, ...]] = {}
    updates = (frame["update"] - frame["staleness"]).tolist()
    for worker, update in zip(frame["worker"].tolist(), updates, strict=True):
        if update in first:
            pulls[first[update]] = (*pulls.get(first[update], ()), worker)
    return pulls


def _steps(frame: pd.DataFrame) -> list[int]:
    """Return the local steps of each commit's window, 0 where a trace does not hold them."""
    return frame.get("steps", frame["worker"] * 0).tolist()


def verify(
    frame: pd.DataFrame, experiment: Experiment, shares: Shares, happened: Happened, *, shrank: bool = False
) -> None:
    """Check that a run of this experiment can have this trace.

    Args:
        frame: the trace.
        experiment: the run.
        shares: windows that were taken over.
        happened: events besides the commits.
        shrank: workers were lost, which changed quorums; then who may commit when is not checked.

    Raises:
        ResultsError: a worker that does not exist or may not start yet, a window longer than λ, more steps than a
            budget has, or a commit of a worker whose last one is not answered.
    """
    n = experiment.workers
    left, windows = experiment.budget.tolist(), [0] * n
    waiting: set[int] = set()
    admission = Admission(experiment.optimizer.synchrony, n)
    for i, (worker, steps, share) in enumerate(zip(frame["worker"].tolist(), _steps(frame), shares, strict=True)):
        for returned in happened.get(i, {}).get("returned", ()):
            admission.pull(returned)
        owner = worker if share is None else share[0]
        where = f"launcher.trace: row {i + 1}: worker {worker}"
        if not 0 <= worker < n:
            raise ResultsError(f"{where} does not exist; the run has the workers 0 to {n - 1}")
        if worker in admission.late and not shrank:
            raise ResultsError(f"{where} commits while the first one is still training alone")
        if worker in waiting:
            raise ResultsError(f"{where} commits twice within one update, or before it is answered")
        if not 0 <= steps <= experiment.window:
            raise ResultsError(f"{where} took {steps} local steps; a window has 1 to {experiment.window}")
        if left[owner] < max(steps, 1):
            raise ResultsError(
                f"{where} commits more often than its budget of {experiment.budget[owner]} local steps allows: raise "
                "epochs, or set epochs=null"
            )
        windows[owner] += 1
        left[owner] -= steps or experiment.steps(owner, windows[owner], left[owner])
        if not shrank:
            waiting.add(worker)
            waiting -= set(admission.commit(worker, last=left[worker] == 0).released)


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the settings that decide a run's numbers and differ, each as `key: recorded, now`."""
    old, new = (flat({k: v for k, v in {**ADDED, **each}.items() if k not in FREE}) for each in (recorded, now))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return [f"{key} was {old.get(key)}, is {new.get(key)}" for key in keys]
