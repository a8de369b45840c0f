"""The outcome of the compared runs: every optimizer on every workload, and over all workloads."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from distopt.metrics.convergence import to_target
from distopt.metrics.profiles import performance_ratios, score
from distopt.metrics.statistics import Interval, geometric_mean_interval, mean_interval, median_interval
from distopt.report.comparison.rows import columns
from distopt.runs.results import Run
from scripts.study.sizes import Size, Trial
from scripts.tools.runs import Array, Runs, accuracy, efficiencies, final

REFERENCE = "synchronous"


class Outcome(NamedTuple):
    """Tables of the study. Rows of the arrays are optimizers, columns workloads."""

    optimizers: list[str]
    cells: pd.DataFrame  # one row per optimizer and workload
    summary: pd.DataFrame  # one row per optimizer, best score first
    ratios: Array  # median time to the target over that of the fastest optimizer
    accuracy: Array  # mean final validation accuracy
    efficiency: Array  # temporal efficiency over REFERENCE, geometric mean over seeds


def judge(runs: Runs, size: Size, chosen: dict[str, Trial]) -> Outcome:
    """Compare the optimizers on every workload.

    The cost of an optimizer is its median time to `size.target`, infinite if the median run does not reach it. Temporal
    efficiency is by areas under the center's validation accuracy, in pairs of equal seeds of finished runs.
    """
    names, workloads = list(chosen), size.workloads
    found = [[_runs(runs, name, *workload) for workload in workloads] for name in names]
    base = [_runs(runs, REFERENCE, *workload) for workload in workloads]
    times = [
        [median_interval([to_target(accuracy(run), size.target) for run in each]) for each in row] for row in found
    ]
    finals = [[mean_interval(final(each)) for each in row] for row in found]
    pairs = [[_efficiencies(each, b) for each, b in zip(row, base, strict=True)] for row in found]
    geometric = [[geometric_mean_interval(list(cell.values())) for cell in row] for row in pairs]
    shape = (len(names), len(workloads))
    costs = np.nan_to_num(_values(times, shape), nan=np.inf, posinf=np.inf)
    ratios = performance_ratios(costs.T).T
    rows = [
        {"optimizer": name, "cluster": cluster, "workers": workers, "seeds": len(found[i][j])}
        | {"diverged": sum(run.status == "diverged" for run in found[i][j])}
        | columns("accuracy", finals[i][j])
        | columns("time_to_target_s", times[i][j])
        | columns("efficiency", geometric[i][j])
        for i, name in enumerate(names)
        for j, (cluster, workers) in enumerate(workloads)
    ]
    over_all = [geometric_mean_interval(_per_seed(row)) for row in pairs]
    summary = pd.DataFrame(
        [
            {"optimizer": name, **chosen[name]._asdict(), "score": float(value)}
            | {"fastest_in": int((ratios[i] == 1).sum()), "reached_in": int(np.isfinite(costs[i]).sum())}
            | {"accuracy": float(np.mean([cell.value for cell in finals[i]])), **columns("efficiency", over_all[i])}
            for i, (name, value) in enumerate(zip(names, score(ratios.T) if names else [], strict=True))
        ]
    )
    if names:
        summary = summary.sort_values(["score", "accuracy"], ascending=False, ignore_index=True)
    accuracies, ahead = _values(finals, shape), _values(geometric, shape)
    return Outcome(names, pd.DataFrame(rows), summary, ratios, accuracies, ahead)


def _runs(runs: Runs, name: str, cluster: str, workers: int) -> list[Run]:
    found = runs.pick(f"comparison {name}", workers=workers)
    return [run for run in found if run.config["cluster"]["name"] == cluster]


def _efficiencies(a: list[Run], b: list[Run]) -> dict[int, float]:
    """Return temporal efficiency by seed, over the seeds with which both finished."""
    own, other = ({run.seed: run for run in runs if run.finished} for runs in (a, b))
    seeds = sorted(own.keys() & other.keys())
    values = efficiencies([own[seed] for seed in seeds], [other[seed] for seed in seeds], split="validation")
    return dict(zip(seeds, values.tolist(), strict=True))


def _per_seed(cells: list[dict[int, float]]) -> list[float]:
    """Return the geometric mean over all workloads for each seed that every workload has."""
    seeds = set.intersection(*map(set, cells)) if cells else set()
    return [float(np.exp(np.mean([np.log(cell[seed]) for cell in cells]))) for seed in sorted(seeds)]


def _values(intervals: list[list[Interval]], shape: tuple[int, int]) -> Array:
    return np.array([[interval.value for interval in row] for row in intervals], np.float64).reshape(shape)
