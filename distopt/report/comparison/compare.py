"""Comparison of runs: one row per configuration, its efficiency over a reference, and all pairs in a matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from distopt.errors import ResultsError, listed
from distopt.metrics import convergence, efficiency
from distopt.records import Metric
from distopt.report.comparison import reference as references
from distopt.report.comparison.grid import cells, profiles, sensitivity
from distopt.report.comparison.grouping import Configuration, Group, group
from distopt.report.comparison.rows import SUMMED, Measured, against, measure, row, seed_means
from distopt.runs.results import Run, load_all
from distopt.settings import TEXT, number, one_of, or_null, problem

INTERVALS = ("te_target", "te_area", "difference", "se_target")
PAIRED = (*(f"{name}{end}" for name in INTERVALS for end in ("", "_low", "_high")), "p_value")


class Comparison(NamedTuple):
    """The result of `compare_runs`: one row per configuration (see `compare`), the groups, metric and split of each."""

    rows: pd.DataFrame
    groups: list[Group]
    chosen: list[tuple[Metric, str]]

    @property
    def parts(self) -> list[tuple[Group, pd.DataFrame]]:
        """Each group with its rows, in the order of its configurations."""
        ends = np.cumsum([len(each.configurations) for each in self.groups])
        starts = [0, *ends[:-1]]
        return [(g, self.rows.iloc[i:j]) for g, i, j in zip(self.groups, starts, ends, strict=True)]

    @property
    def profile(self) -> pd.DataFrame:
        """The performance profile of each optimizer over all workloads; see `grid.profiles`."""
        return profiles(cells(self.parts)).table()

    @property
    def sensitivity(self) -> pd.DataFrame:
        """The share of each optimizer's grid of settings that comes close to its best; see `grid.sensitivity`."""
        return pd.concat([sensitivity(*part) for part in self.parts], ignore_index=True)

    @property
    def matrix(self) -> pd.DataFrame:
        """Temporal efficiency, second definition, of each configuration over each other; NaN between groups."""
        return self.efficiency[0]

    @property
    def efficiency(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """The `matrix` and the ends of its 95 % confidence interval, NaN where not available."""
        pairs = zip(self.groups, self.chosen, strict=True)
        blocks = [_efficiencies(each.configurations, *chosen) for each, chosen in pairs]
        labels = [f"{c.label} ({g.name})" if g.name else c.label for g in self.groups for c in g.configurations]
        values = np.full((3, len(labels), len(labels)), np.nan)
        start = 0
        for block in blocks:
            stop = start + block.shape[1]
            values[:, start:stop, start:stop] = block
            start = stop
        value, low, high = (pd.DataFrame(layer, index=labels, columns=labels) for layer in values)
        return value, low, high


def compare(
    runs: Sequence[Run | str | Path],
    *,
    reference: str | None = None,
    target: float | None = None,
    metric: str | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """Compare runs, or the runs at and below folders: one row per configuration, seeds taken together.

    Columns: `group` (the settings in which incomparable runs differ, empty for one group), `configuration`, `seeds` and
    `runs` (there are more runs than seeds only on the wall clock, where a seed's repetitions enter everything below as
    their mean), `status`, `metric` as SPLIT METRIC, and
    whether higher or lower is `better`; `final` and `best`, means over the runs that finished or
    diverged (see `Measured.concluded`), and `final_std`; `target`; `time_to_target_s`, the median over all runs, where
    a run that never reaches the target, for whatever reason, counts as infinite; `success_rate`, the share of runs that
    reach it; `updates_to_target`, also a median over all runs. Against `reference`, in pairs of equal seeds:
    `te_target`, temporal efficiency by the first definition, the ratio of median times; `te_area`, by the second, the
    geometric mean over finished runs; `difference` of final values and its `p_value` (see
    `statistics.paired_difference`); `se_target`, statistical efficiency, the ratio of median updates.
    `implicit_momentum` where runs on an analytic function have it (see `metrics.momentum`). Then means over seeds of
    numbers in `summary.json`. `NAME_low` and `NAME_high` are the ends of the 95 % confidence interval of column NAME,
    by the bootstrap for medians and by Student otherwise; NaN where not available, as for a single seed.

    Args:
        runs: loaded runs, or folders.
        reference: a run's folder or its name, a configuration's label, or an optimizer, whose configuration on the same
            workload is taken; by default each group's first optimizer with a finished run (see `reference.bases`).
        target: the value to reach; by default the best that every finished run of the group reached.
        metric: one of the runs' metrics; by default the primary one of each group, such as accuracy.
        split: `validation` or `train`; by default validation where it exists.

    Raises:
        ResultsError: a folder cannot be read, there is no run, the reference fits no configuration or several, or an
            argument is not one of those above.
    """
    _check(reference, target, metric, split)
    folders = [run for run in runs if not isinstance(run, Run)]
    loaded, problems = load_all(folders)
    if problems:
        raise ResultsError("\n".join(problems))
    every = [run for run in runs if isinstance(run, Run)] + loaded
    return compare_runs(every, reference=reference, target=target, metric=metric, split=split).rows


def compare_runs(
    runs: Sequence[Run],
    *,
    reference: str | None = None,
    target: float | None = None,
    metric: str | None = None,
    split: str | None = None,
) -> Comparison:
    """Compare runs as `compare` does, and keep the groups."""
    _check(reference, target, metric, split)
    if not runs:
        raise ResultsError("no run to compare; give the folder of a run, or one with runs below it")
    groups = group(runs)
    _check_metric(groups, metric)
    references.check(groups, reference)
    chosen = [choose(each.runs, metric, split) for each in groups]
    rows = [_rows(each, reference, target, *pair) for each, pair in zip(groups, chosen, strict=True)]
    return Comparison(pd.concat(rows, ignore_index=True), groups, chosen)


def _check(*given: Any) -> None:
    """Raise ResultsError if reference, target, metric or split is of a wrong kind."""
    split = or_null(one_of(*convergence.SPLITS))
    rules = {"reference": or_null(TEXT), "target": or_null(number()), "metric": or_null(TEXT), "split": split}
    for (key, rule), value in zip(rules.items(), given, strict=True):
        if words := problem(key, value.item() if isinstance(value, np.generic) else value, rule):
            raise ResultsError(words)


def choose(runs: Sequence[Run], metric: str | None, split: str | None) -> tuple[Metric, str]:
    """Return metric and split: by default the primary metric, and validation if the runs have it, else train."""
    if split is None:
        split = "validation" if any((run.evals["split"] == "validation").any() for run in runs) else "train"
    evaluated = sorted(runs, key=lambda run: run.evals.empty)  # these know best what there is
    known = {each.name: each for run in reversed(evaluated) for each in run.metrics}
    primary = evaluated[0].metrics[0]
    return (primary if metric is None else known[metric]), split


def _check_metric(groups: Sequence[Group], metric: str | None) -> None:
    """Raise ResultsError if runs of a group have no metric of this name."""
    for each in groups:
        known = dict.fromkeys(one.name for run in each.runs for one in run.metrics)
        if metric is not None and metric not in known:
            which = f"those with {each.name}" if each.name else "these runs"
            raise ResultsError(f"metric={metric}: {which} have no such metric; choose from {listed(known)}")


def efficiency_matrix(configurations: Sequence[Configuration], metric: Metric, split: str) -> pd.DataFrame:
    """Return temporal efficiency, second definition, of rows over columns, both labelled by configuration.

    Only finished runs count: a run that broke off early would be compared only over its good start.
    """
    labels = [configuration.label for configuration in configurations]
    return pd.DataFrame(_efficiencies(configurations, metric, split)[0], index=labels, columns=labels)


def _efficiencies(configurations: Sequence[Configuration], metric: Metric, split: str) -> npt.NDArray[np.float64]:
    curves = [[convergence.curve(run.evals, metric.name, split) for run in c.finished] for c in configurations]
    return efficiency.matrix(curves, [[run.seed for run in c.finished] for c in configurations], metric.better)


def default_target(measured: Sequence[Measured]) -> float:
    """Return the best value that every finished run reached; NaN if none has finished."""
    bests = [
        convergence.best(curve.y, one.metric.better)
        for one in measured
        for run, curve in zip(one.configuration.runs, one.curves, strict=True)
        if run.finished
    ]
    if not bests:
        return float("nan")
    return max(bests) if measured[0].metric.better == "lower" else min(bests)


def _rows(group: Group, reference: str | None, target: float | None, metric: Metric, split: str) -> pd.DataFrame:
    measured = [measure(configuration, metric, split) for configuration in group.configurations]
    goal = default_target(measured) if target is None else target
    found, by_label = [], {one.configuration.label: one for one in measured}
    for one, base in zip(measured, references.bases(group, reference), strict=True):
        mine: dict[str, Any] = {"group": group.name, **row(one, goal)}
        mine |= against(one, by_label[base.label], goal) if base else {"reference": None}
        found.append(mine | _summed(one.configuration))
    kept = [*dict.fromkeys([*found[0], *PAIRED])]
    return pd.DataFrame(found).reindex(columns=[*(c for c in kept if c not in SUMMED), *SUMMED])


def _summed(configuration: Configuration) -> dict[str, float]:
    """Return the means over seeds of the numbers in `summary.json`."""
    seeds, found = [run.seed for run in configuration.runs], {}
    for name in SUMMED:
        values = {i: _number(run.summary.get(name)) for i, run in enumerate(configuration.runs)}
        means = seed_means(seeds, {i: value for i, value in values.items() if np.isfinite(value)})
        found[name] = float(np.mean([*means.values()])) if means else float("nan")
    return found


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
