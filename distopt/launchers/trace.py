"""A recorded commit order: read, checked against an experiment, and turned into the updates that a replay makes."""

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from distopt.cluster import Commit, Joined, Update
from distopt.errors import ResultsError
from distopt.files.untrusted import BROKEN, read_csv, reason
from distopt.records import COLUMNS, RESTARTS
from distopt.runs import results
from distopt.training.admission import Admission
from distopt.training.experiment import Experiment

TIMES = ("compute_s", "exchange_s", "server_s")
Happened = Mapping[int, Mapping[str, Any]]
"""Events besides the commits, as fields of `Update`, by the number of the row before which they happened."""


class Trace(NamedTuple):
    """A commit order, one row per commit, and the events between the commits."""

    commits: pd.DataFrame  # at least `worker`
    events: pd.DataFrame  # as in a run's folder; empty where the order is all that is known
    finished: bool = True  # at the end, what the rule kept was applied

    @property
    def steps(self) -> list[int]:
        """The local steps of each commit's window, 0 where the trace does not hold them."""
        return self._column("steps")

    @property
    def shares(self) -> Sequence[tuple[int, int] | None]:
        """For each commit the owner and first step of its window if it was taken over, else None."""
        taken = self.events[self.events["kind"] == "taken over"]
        if taken.empty:
            return [None] * len(self.commits)
        keys = zip(taken["worker"].astype(int), taken["sequence"].astype(int) + 1, strict=True)
        values = zip(taken["owner"].astype(int), taken["first_step"].astype(int), strict=True)
        by_commit = dict(zip(keys, values, strict=True))
        return [by_commit.get(commit) for commit in self._numbers()]

    @property
    def happened(self) -> Happened:
        """The events between the commits."""
        first, found = self._firsts(), dict[int, dict[str, Any]]()
        for name, kinds in (("returned", RESTARTS), ("left", ("orphaned",)), ("joined", ("taken over",))):
            for version, told in self.events[self.events["kind"].isin(kinds)].groupby("update"):
                row = first.get(int(str(version)) + 1, len(self.commits))  # beyond the end: no commit followed
                who = told[list(Joined._fields)].astype(int).itertuples(index=False, name=None)
                joined = sorted({Joined(*each) for each in who})
                found.setdefault(row, {})[name] = tuple(joined if name == "joined" else sorted({k for k, *_ in joined}))
        return found

    @property
    def shrank(self) -> bool:
        """Whether workers were lost for good, so that the others waited for fewer."""
        return bool((self.events["kind"] == "orphaned").any())

    def updates(self, *, pull: bool) -> Iterator[Update]:
        """Yield each commit by itself, with the events just before it; the server finds the quorums again.

        Args:
            pull: workers pulled the center before each commit.
        """
        pulls, happened, kept = self._pulls() if pull else {}, self.happened, self._kept()
        windows = zip(
            self._column("worker"), self.steps, *map(self._column, TIMES), self.shares, self._numbers(), strict=True
        )
        for i, (time_s, window) in enumerate(zip(self._column("time_s"), windows, strict=True)):
            *made, share, number = window
            commit = Commit(*made)._replace(share=share, kept=number in kept)
            yield Update(time_s, (commit,), pulled=pulls.get(i, ()), **happened.get(i, {}))

    def verify(self, experiment: Experiment) -> None:
        """Check that a run of this experiment can have this trace.

        Where workers were lost, quorums changed: then it is not checked who may commit when.

        Raises:
            ResultsError: a worker that does not exist or may not start yet, a window longer than λ, more steps than a
                budget has, or a commit of a worker whose last one is not answered.
        """
        n, happened, shrank = experiment.workers, self.happened, self.shrank
        left, windows = experiment.budget.tolist(), [0] * n
        waiting: set[int] = set()
        admission = Admission(experiment.optimizer.synchrony, n)
        for i, (worker, steps, share) in enumerate(zip(self._column("worker"), self.steps, self.shares, strict=True)):
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
                    f"{where} commits more often than its budget of {experiment.budget[owner]} local steps allows: "
                    "raise epochs, or set epochs=null"
                )
            windows[owner] += 1
            left[owner] -= steps or experiment.steps(owner, windows[owner], left[owner])
            if not shrank:
                waiting.add(worker)
                waiting -= set(admission.commit(worker, last=left[worker] == 0).released)

    def _column(self, name: str) -> list[Any]:
        """Return a column, zeros where the trace has none."""
        return self.commits.get(name, self.commits["worker"] * (0.0 if name.endswith("_s") else 0)).tolist()

    def _numbers(self) -> Iterator[tuple[int, int]]:
        """Yield worker and sequence number of each commit."""
        return zip(self._column("worker"), self._column("sequence"), strict=True)

    def _kept(self) -> Set[tuple[int, int]]:
        """Return the commits, as worker and sequence number, whose local state the worker used when it returned."""
        if "kept" not in self.events:
            return set()
        rows = self.events[self.events["kept"] == 1]
        return set(zip(rows["worker"].astype(int), rows["sequence"].astype(int), strict=True))

    def _firsts(self) -> dict[int, int]:
        """Return the number of the first row of each update."""
        first: dict[int, int] = {}
        for i, update in enumerate(self._column("update")):
            first.setdefault(update, i)
        return first

    def _pulls(self) -> dict[int, tuple[int, ...]]:
        """Return which workers pulled the center, by the number of the row before which they did.

        A commit of staleness τ in update u was made with the center of version u − 1 − τ, which is the one before the
        first commit of update u − τ. Without these columns every worker pulls right before its commit.
        """
        if not {"update", "staleness"} <= set(self.commits):
            return {}
        first = self._firsts()
        pulls: dict[int, tuple[int, ...]] = {}
        updates = (self.commits["update"] - self.commits["staleness"]).tolist()
        for worker, update in zip(self._column("worker"), updates, strict=True):
            if update in first:
                pulls[first[update]] = (*pulls.get(first[update], ()), worker)
        return pulls


def read(path: Path) -> Trace:
    """Read a trace: a run's folder, or a CSV with a column `worker` and optionally `steps` and `time_s`.

    Raises:
        ResultsError: nothing readable there.
    """
    try:
        run = results.load(path) if path.is_dir() else None
        frame = run.commits if run else read_csv(path)
        whole = {name: frame[name].astype("int64") for name in ("worker", "steps") if name in {"worker", *frame}}
        if strange := [name for name, values in whole.items() if (values != frame[name]).any()]:
            raise ValueError(f"a {strange[0]} is not a whole number")
        for name in {"time_s", *TIMES} & set(frame):
            if not np.isfinite(frame[name].astype("float64")).all():
                raise ValueError(f"a {name} is not finite")
    except BROKEN as error:
        raise ResultsError(
            f"launcher.trace={path}: no commit order there ({reason(error)}); "
            "give a run's folder, or a CSV with a column worker"
        ) from None
    commits = frame.assign(**whole)
    if run is None:
        return Trace(commits, pd.DataFrame({name: [] for name in COLUMNS["events"]}))
    last = run.evals["update"].max() if len(run.evals) else 0
    return Trace(commits, run.events, finished=bool(last > commits["update"].max()))
