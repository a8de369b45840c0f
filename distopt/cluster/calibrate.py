"""Estimates a cluster model from a real run's commits, such that virtual time repeats the run's wall-clock times.

Step times. A worker's `compute_s` over its `steps` is the wall-clock time of a local step, waiting for a core, memory
or the interpreter included. That is deliberate: where workers share cores, contention makes steps longer, and only
steps of their real length give the run's total time. The model therefore holds for as many workers on the same
machine as were measured, not for more or fewer of them. A window sums λ steps; if these are independent, the
coefficient of variation of a step is √λ times that of a window. It is measured between neighbouring windows of a
worker: that leaves out slow changes, which all workers share and which therefore do not reorder commits. The workers'
means vary by the spread of speeds and by chance; the spread is what chance does not explain.

Exchange. With T_u the time of update u, s the server's recorded seconds and L the seconds on the way, both directions
together, worker k's commit to update u reaches the server's queue L + compute_s after k's previous update. A
first-come-first-served queue that begins empty at T_{u-1} then gives the time T̂_u(L) at which u would have been
applied: prediction one step ahead, from what was recorded up to then. Residuals r_u = T_u - T̂_u.

- Asynchronous: L minimizes the variance of r. At the minimum, commits that had to queue and commits that did not have
  the same mean residual: what the server needs per commit beyond what it recorded (taking the call, waiting for a
  core). It occupies the server: the server's law has the mean of s + r, and its variation between neighbours.
- Barriers and quorums: time in the queue and time on the way cannot be told apart, because all workers wait for the
  last commit. L makes the mean of r zero, that is, reproduces the mean time of an update; the server's law is that of
  s. An update of q commits sums their work, as a window sums steps.

Start. The first commit of every worker is left out, because first calls are slow. The start is a fixed time before the
first local step: the time of the first update less a mean window, its way and the server's work.

Not estimated, because one run does not show them: bandwidth (all messages have one size, so transfer is part of the
latency), stragglers (part of the variation), failures (none), changes during the run. Latency is split evenly.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from distopt.cluster.laws import Law
from distopt.errors import ResultsError

Array = NDArray[np.float64]

COLUMNS = ("update", "worker", "time_s", "steps", "compute_s", "server_s")
FEWEST = 3  # commits of each worker: one to start from, two to see a variation
CANDIDATES = 1000  # latencies tried: the resolution is a thousandth of the mean exchange


class Calibration(NamedTuple):
    """What was estimated, in seconds and ratios.

    step, server: laws of a local step and of the server's work on a commit. spread: coefficient of variation, across
    workers, of their mean step times. latency_s: both directions of an exchange together. start_s: from the start of
    the clock to the first local step. recorded_server_s: the part of the server's mean that it recorded as work.
    exchange_s: mean seconds between two windows of a worker, as measured. commits: how many there were.
    """

    step: Law
    server: Law
    spread: float
    latency_s: float
    start_s: float
    recorded_server_s: float
    exchange_s: float
    commits: int

    def settings(self, name: str) -> dict[str, Any]:
        """Return the `cluster` group of a configuration, complete, with six digits."""
        half = {"latency_s": _rounded(self.latency_s / 2), "bytes_per_s": None}
        return {
            "name": name,
            "start_s": _rounded(self.start_s),
            "step": {**_law(self.step), "trace": None, "spread": _rounded(self.spread)},
            "stragglers": {"chance": 0.0, "factor": 1.0, "workers": []},
            "network": {"up": half, "down": dict(half), "shared": False},
            "server": _law(self.server),
            "failures": {"mean_time_s": None, "downtime_s": 0.0},
        }


def calibrate(commits: pd.DataFrame) -> Calibration:
    """Estimate a cluster from the frame `commits` of a run; see the head of this module.

    Raises:
        ResultsError: columns that are missing, or fewer than `FEWEST` commits of some worker.
    """
    if absent := [column for column in (*COLUMNS, "exchange_s") if column not in commits]:
        raise ResultsError(f"commits have no column {', '.join(absent)}; repeat the run with this version")
    fewest = int(commits.groupby("worker").size().min()) if len(commits) else 0
    if fewest < FEWEST:
        raise ResultsError(
            f"a worker has {fewest} commits, {FEWEST} are needed to see a variation; raise epochs or lower "
            "optimizer.window"
        )
    steady = commits[commits["worker"].duplicated()]
    step, spread = _steps(steady)
    exchange_s = float(steady["exchange_s"].mean())
    latency_s, server = _exchange(commits, exchange_s)
    return Calibration(
        step=step,
        server=server,
        spread=spread,
        latency_s=latency_s,
        start_s=max(0.0, _first_update(commits, steady) - latency_s / 2),
        recorded_server_s=float(steady["server_s"].mean()),
        exchange_s=exchange_s,
        commits=len(commits),
    )


def to_yaml(settings: Mapping[str, Any], comment: str) -> str:
    """Return a file for the configuration group `cluster`; its first line says where it comes from."""
    return f"# {comment}\n{yaml.safe_dump(dict(settings), sort_keys=False)}"


def _steps(commits: pd.DataFrame) -> tuple[Law, float]:
    """Return the law of a local step and the spread across workers.

    With x_i the mean step time of a worker's window i, of λ_i steps, relative to the worker's own mean, neighbours have
    E (x_i - x_{i-1})² = cv² (1 / λ_i + 1 / λ_{i-1}). A worker's mean over m steps varies by cv² / m by chance, which is
    taken off the variance of the means.
    """
    by_worker = commits.groupby("worker")
    sums = by_worker[["compute_s", "steps"]].sum()
    means = sums["compute_s"] / sums["steps"]
    relative = commits["compute_s"] / commits["steps"] / commits["worker"].map(means)
    squares = relative.groupby(commits["worker"]).diff() ** 2
    weights = 1 / commits["steps"] + 1 / by_worker["steps"].shift()
    cv2 = float((squares / weights).mean())
    between = float((means / means.mean()).var(ddof=1)) if len(means) > 1 else 0.0
    spread2 = between - cv2 * float((1 / sums["steps"]).mean())
    return _fitted(float(means.mean()), np.sqrt(cv2)), float(np.sqrt(max(0.0, spread2)))


def _first_update(commits: pd.DataFrame, steady: pd.DataFrame) -> float:
    """Return the time of the first update less the computing and the server's work in it, each at most its mean."""
    first = commits[commits["update"] == commits["update"].iloc[0]]
    compute_s = min(first["compute_s"].max(), steady.groupby("update")["compute_s"].max().mean())
    server_s = min(first["server_s"].iloc[-1], steady["server_s"].mean())
    return float(first["time_s"].iloc[0] - compute_s - server_s)


def _exchange(commits: pd.DataFrame, longest: float) -> tuple[float, Law]:
    """Return the latency of both directions, in [0, longest], and the law of the server's work."""
    arrays = {column: commits[column].to_numpy(np.float64) for column in ("time_s", "compute_s", "server_s")}
    update = commits["update"].to_numpy()
    before = _previous_update(update, arrays["time_s"])
    began = commits.groupby("worker")["time_s"].shift().to_numpy(np.float64)
    candidates = np.linspace(0.0, longest, CANDIDATES + 1)

    def residuals(latency_s: float) -> Array:
        arrival = began + arrays["compute_s"] + latency_s
        left = arrays["time_s"][_firsts(update)] - _applied(update, arrival, before, arrays["server_s"])
        return left[np.isfinite(left)]  # updates with a worker's first commit have nothing to start from

    known = np.isfinite(began)
    recorded = arrays["server_s"][known]
    if commits["update"].is_unique:
        latency_s = float(min(candidates, key=lambda latency: residuals(latency).var()))
        work = recorded + residuals(latency_s)
    else:
        latency_s = float(min(candidates, key=lambda latency: abs(residuals(latency).mean())))
        work = recorded
    return latency_s, _server(update[known], work)


def _server(update: NDArray[np.int64], work: Array) -> Law:
    """Return the law of the server's work on one commit, from what every commit took.

    The mean work m_u of an update's q commits varies by cv² / q, and neighbours by twice that.
    """
    mean = float(work.mean())
    if mean <= 0:
        return Law(0.0)
    firsts = _firsts(update)
    sizes = np.diff(np.append(firsts, len(update)))
    means = np.add.reduceat(work, firsts) / sizes
    return _fitted(mean, np.sqrt(sizes.mean() * np.mean(np.diff(means) ** 2) / 2) / mean)


def _applied(update: NDArray[np.int64], arrival: Array, before: Array, server: Array) -> Array:
    """Return when each update is applied, shape (updates,): the last of its commits leaves the server's queue.

    For commits in the order of arrival A_1 ≤ ... ≤ A_q, the queue is done at max(T + Σ_{i≥1} s_i, max_m A_m +
    Σ_{i≥m} s_i), T being the time of the update before.
    """
    order = np.lexsort((arrival, update))
    firsts = _firsts(update)
    work = server[order]
    through = np.cumsum(work)
    ends = np.append(firsts[1:], len(update)) - 1
    until = np.repeat(through[ends], np.diff(np.append(firsts, len(update))))
    rest = until - through + work  # this commit's work and that of the later ones of its update
    return np.maximum(np.maximum.reduceat(arrival[order] + rest, firsts), before + rest[firsts])


def _previous_update(update: NDArray[np.int64], time_s: Array) -> Array:
    """Return the time of the update before, shape (updates,); the clock's start for the first."""
    return np.append(0.0, time_s[_firsts(update)][:-1])


def _firsts(update: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each update's commits begin: rows are in the order applied."""
    return np.flatnonzero(np.diff(update, prepend=update[0] - 1))


def _fitted(mean: float, cv: float) -> Law:
    """Return a gamma law, or a deterministic one where nothing varies beyond rounding."""
    return Law(mean, "gamma", float(cv)) if cv > 1e-6 else Law(mean)


def _law(law: Law) -> dict[str, Any]:
    return {"seconds": _rounded(law.seconds), "law": law.law, "cv": _rounded(law.cv)}


def _rounded(value: float) -> float:
    return float(f"{round(value, 12):.6g}")
