"""Comparison of runs: one row per configuration, its efficiency over a reference, and all pairs in a matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from distopt.errors import ResultsError
from distopt.metrics import convergence, efficiency
from distopt.metrics.convergence import Curve
from distopt.report.grouping import Configuration, Group, group
from distopt.results import Run, load_all

SUMMED = ("updates", "samples_per_s", "staleness_mean", "server_busy", "worker_wait", "bytes_up", "bytes_down")


class Comparison(NamedTuple):
    """What `compare_runs` finds: one row per configuration (see `compare`), the groups, metric and split of each."""

    rows: pd.DataFrame
    groups: list[Group]
    chosen: list[tuple[str, str]]

    @property
    def matrix(self) -> pd.DataFrame:
        """Temporal efficiency, second definition, of each configuration over each other; NaN between groups."""
        pairs = zip(self.groups, self.chosen, strict=True)
        blocks = [efficiency_matrix(each.configurations, *chosen) for each, chosen in pairs]
        grouped = zip(self.groups, blocks, strict=True)
        labels = [f"{label} ({g.name})" if g.name else label for g, block in grouped for label in block.index]
        values = np.full((len(labels), len(labels)), np.nan)
        start = 0
        for block in blocks:
            stop = start + len(block)
            values[start:stop, start:stop] = block.to_numpy()
            start = stop
        return pd.DataFrame(values, index=labels, columns=labels)


def compare(
    runs: Sequence[Run | str | Path],
    *,
    reference: str | None = None,
    target: float | None = None,
    metric: str | None = None,
    split: str | None = None,
) -> pd.DataFrame:
    """Compare runs, or the runs at and below folders: one row per configuration, seeds taken together.

    Columns: `group` (what sets incomparable runs apart, empty if nothing does), `configuration`, `seeds`, `status`,
    `metric` as SPLIT METRIC; `final`, its mean at the end, `final_std`, its standard deviation over seeds (NaN for
    one), `best`; `target` and `time_to_target_s`, the median over seeds, where a run that never gets there counts as
    infinite; `reference`; `te_target`, temporal efficiency over it by the first definition, the ratio of these medians;
    `te_area`, by the second, the geometric mean over pairs of finished runs, of equal seeds where there are such;
    `updates_to_target` and `se_target`, statistical efficiency, the same in updates instead of seconds; then means
    over seeds of numbers in `summary.json`.

    Args:
        runs: runs as loaded, or folders.
        reference: a run's folder or its name, a configuration's label or an optimizer; by default each group's first
            configuration with a finished run.
        target: the value to reach; by default the best that every finished run of the group reached.
        metric: `accuracy` or `loss`; by default accuracy where it exists.
        split: `validation` or `train`; by default validation where it exists.

    Raises:
        ResultsError: a folder cannot be read, there is no run, or the reference fits none or several configurations.
    """
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
    if not runs:
        raise ResultsError("no run to compare; give the folder of a run, or one with runs below it")
    groups = group(runs)
    if reference is not None and not any(_find(each, reference) for each in groups):
        labels = ", ".join(c.label for each in groups for c in each.configurations)
        raise ResultsError(f"reference={reference}: no such run or configuration; there are {labels}")
    chosen = [choose(each.runs, metric, split) for each in groups]
    rows = [_rows(each, reference, target, *pair) for each, pair in zip(groups, chosen, strict=True)]
    return Comparison(pd.concat(rows, ignore_index=True), groups, chosen)


def choose(runs: Sequence[Run], metric: str | None, split: str | None) -> tuple[str, str]:
    """Return metric and split as given, or accuracy and validation where the runs have them, else loss and train."""
    evals = [run.evals for run in runs]
    if split is None:
        split = "validation" if any((e["split"] == "validation").any() for e in evals) else "train"
    if metric is None:
        metric = "accuracy" if any(e["accuracy"].notna().any() for e in evals) else "loss"
    return metric, split


def efficiency_matrix(configurations: Sequence[Configuration], metric: str, split: str) -> pd.DataFrame:
    """Return temporal efficiency, second definition, of rows over columns, both labelled by configuration.

    Only finished runs count: a run that broke off early would be compared over its good start alone.
    """
    labels = [configuration.label for configuration in configurations]
    measured = [_measure(configuration.finished, metric, split) for configuration in configurations]
    return pd.DataFrame(_efficiencies(measured, metric), index=labels, columns=labels)


def _measure(runs: Sequence[Run], metric: str, split: str) -> dict[Run, Curve]:
    return {run: convergence.curve(run.evals, metric, split) for run in runs}


def _efficiencies(measured: Sequence[dict[Run, Curve]], metric: str) -> npt.NDArray[np.float64]:
    curves = [list(curves.values()) for curves in measured]
    return efficiency.matrix(curves, [[run.seed for run in curves] for curves in measured], metric)


def default_target(measured: Sequence[dict[Run, Curve]], metric: str) -> float:
    """Return the best value that every finished run reached; NaN if none has finished."""
    bests = [convergence.best(c.y, metric) for curves in measured for run, c in curves.items() if run.finished]
    if not bests:
        return float("nan")
    return max(bests) if metric == "loss" else min(bests)


def _rows(group: Group, reference: str | None, target: float | None, metric: str, split: str) -> pd.DataFrame:
    measured = {c.label: _measure(c.runs, metric, split) for c in group.configurations}
    base = _find(group, reference) if reference is not None else _first(group)
    goal = default_target(list(measured.values()), metric) if target is None else target
    rows = []
    for configuration in group.configurations:
        row = {"group": group.name} | _row(configuration, list(measured[configuration.label].values()), metric, goal)
        row |= {"metric": f"{split} {metric}", "reference": None, "te_target": np.nan, "te_area": np.nan}
        row |= {"updates_to_target": _updates(configuration, metric, split, goal), "se_target": np.nan}
        if base:
            time_s = _median_time(list(measured[base.label].values()), metric, goal)
            row["te_target"] = efficiency.ratio(time_s, row["time_to_target_s"])
            both = [_finished(measured[label]) for label in (configuration.label, base.label)]
            row |= {"reference": base.label, "te_area": _efficiencies(both, metric)[0, 1]}
            row["se_target"] = efficiency.ratio(_updates(base, metric, split, goal), row["updates_to_target"])
        summaries = pd.DataFrame([run.summary for run in configuration.runs]).reindex(columns=list(SUMMED))
        rows.append(row | summaries.astype(float).mean().to_dict())
    return pd.DataFrame(rows)


def _row(configuration: Configuration, curves: Sequence[Curve], metric: str, target: float) -> dict[str, Any]:
    finals = np.array([c.y[-1] if c.y.size else np.nan for c in curves])
    bests = np.array([convergence.best(c.y, metric) for c in curves])
    return {
        "configuration": configuration.label,
        "seeds": len(configuration.runs),
        "status": configuration.status,
        "metric": "",
        "final": finals.mean(),
        "final_std": finals.std(ddof=1) if finals.size > 1 else np.nan,
        "best": bests.mean(),
        "target": target,
        "time_to_target_s": _median_time(curves, metric, target),
    }


def _median_time(curves: Sequence[Curve], metric: str, target: float) -> float:
    if np.isnan(target):
        return float("nan")
    return float(np.median([convergence.to_target(c, target, metric) for c in curves]))


def _updates(configuration: Configuration, metric: str, split: str, target: float) -> float:
    """Return the median over seeds of the updates to the target."""
    return _median_time(
        [convergence.curve(run.evals, metric, split, "updates") for run in configuration.runs], metric, target
    )


def _finished(curves: dict[Run, Curve]) -> dict[Run, Curve]:
    return {run: curve for run, curve in curves.items() if run.finished}


def _first(group: Group) -> Configuration | None:
    return next((c for c in group.configurations if c.finished), None)


def _find(group: Group, reference: str) -> Configuration | None:
    """Find the configuration that a label, a run's folder or name, or an optimizer means; error if several."""
    folder = Path(reference).resolve()
    for configuration in group.configurations:
        if reference == configuration.label:
            return configuration
        if any(reference == run.folder.name or folder == run.folder.resolve() for run in configuration.runs):
            return configuration
    same = [c for c in group.configurations if c.optimizer == reference]
    if len(same) > 1:
        labels = " or ".join(repr(c.label) for c in same)
        raise ResultsError(f"reference={reference}: fits several configurations; take {labels}")
    return same[0] if same else None
