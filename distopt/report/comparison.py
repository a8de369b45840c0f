"""Comparison of runs: one row per configuration, its efficiency over a reference, and all pairs in a matrix."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from distopt.errors import ResultsError
from distopt.metrics import convergence, efficiency
from distopt.metrics.convergence import Curve
from distopt.report.grouping import Configuration, Group, group
from distopt.results import Run, load_all

SUMMED = ("updates", "samples_per_s", "staleness_mean", "server_busy", "worker_wait", "bytes_up", "bytes_down")


class Comparison(NamedTuple):
    """What `compare_runs` finds.

    `rows` has one row per configuration (see `compare`), `matrix` the temporal efficiency, second definition, of each
    configuration (row) over each other (column), NaN between groups.
    """

    rows: pd.DataFrame
    matrix: pd.DataFrame
    groups: list[Group]


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
    infinite; `reference`, and `te_target` and `te_area`, temporal efficiency over it by the first and the second
    definition (geometric mean over pairs of equal seeds); then means over seeds of numbers in `summary.json`.

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
    """Compare runs as `compare` does, and keep the matrix and the groups."""
    if not runs:
        raise ResultsError("no run to compare; give the folder of a run, or one with runs below it")
    groups = group(runs)
    if reference is not None and not any(_find(each, reference) for each in groups):
        labels = ", ".join(c.label for each in groups for c in each.configurations)
        raise ResultsError(f"reference={reference}: no such run or configuration; there are {labels}")
    rows, blocks = [], []
    for each in groups:
        chosen = choose(each.runs, metric, split)
        rows.append(_rows(each, reference, target, *chosen))
        blocks.append(efficiency_matrix(each.configurations, *chosen))
    return Comparison(pd.concat(rows, ignore_index=True), _block_diagonal(blocks), groups)


def choose(runs: Sequence[Run], metric: str | None, split: str | None) -> tuple[str, str]:
    """Return metric and split as given, or accuracy and validation where the runs have them, else loss and train."""
    evals = [run.evals for run in runs]
    if split is None:
        split = "validation" if any((e["split"] == "validation").any() for e in evals) else "train"
    if metric is None:
        metric = "accuracy" if any(e["accuracy"].notna().any() for e in evals) else "loss"
    return metric, split


def efficiency_matrix(configurations: Sequence[Configuration], metric: str, split: str) -> pd.DataFrame:
    """Return temporal efficiency, second definition, of rows over columns, both labelled by configuration."""
    labels = [configuration.label for configuration in configurations]
    curves = [_curves(configuration, metric, split) for configuration in configurations]
    seeds = [[run.seed for run in configuration.runs] for configuration in configurations]
    return pd.DataFrame(efficiency.matrix(curves, seeds, metric), index=labels, columns=labels)


def default_target(group: Group, metric: str, split: str) -> float:
    """Return the best value that every finished run of the group reached; NaN if none has finished."""
    finished = [run for run in group.runs if run.finished]
    bests = [convergence.best(convergence.curve(run.evals, metric, split).y, metric) for run in finished]
    if not bests:
        return float("nan")
    return max(bests) if metric == "loss" else min(bests)


def _rows(group: Group, reference: str | None, target: float | None, metric: str, split: str) -> pd.DataFrame:
    base = _find(group, reference) if reference is not None else _first(group)
    goal = default_target(group, metric, split) if target is None else target
    return pd.DataFrame([_row(group, c, base, goal, metric, split) for c in group.configurations])


def _row(
    group: Group, configuration: Configuration, base: Configuration | None, target: float, metric: str, split: str
) -> dict[str, object]:
    curves = _curves(configuration, metric, split)
    finals = np.array([c.y[-1] if c.y.size else np.nan for c in curves])
    bests = np.array([convergence.best(c.y, metric) for c in curves])
    times = [convergence.to_target(c, target, metric) for c in curves]
    row: dict[str, object] = {
        "group": group.name,
        "configuration": configuration.label,
        "seeds": len(configuration.runs),
        "status": configuration.status,
        "metric": f"{split} {metric}",
        "final": finals.mean(),
        "final_std": finals.std(ddof=1) if finals.size > 1 else np.nan,
        "best": bests.mean(),
        "target": target,
        "time_to_target_s": float(np.median(times)) if np.isfinite(target) else np.nan,
        "reference": base.label if base else None,
    }
    row |= _efficiencies(configuration, base, target, metric, split)
    summaries = pd.DataFrame([run.summary for run in configuration.runs]).reindex(columns=list(SUMMED))
    return row | {name: summaries[name].astype(float).mean() for name in SUMMED}


def _efficiencies(
    a: Configuration, b: Configuration | None, target: float, metric: str, split: str
) -> dict[str, float]:
    if b is None:
        return {"te_target": float("nan"), "te_area": float("nan")}
    of_a, of_b = _curves(a, metric, split), _curves(b, metric, split)
    matched = efficiency.pairs([run.seed for run in a.runs], [run.seed for run in b.runs])
    pairs = [(of_a[i], of_b[j]) for i, j in matched]
    return {
        "te_target": efficiency.geometric_mean([efficiency.target_ratio(p, q, target, metric) for p, q in pairs]),
        "te_area": efficiency.geometric_mean([efficiency.temporal_efficiency(p, q, metric) for p, q in pairs]),
    }


def _curves(configuration: Configuration, metric: str, split: str) -> list[Curve]:
    return [convergence.curve(run.evals, metric, split) for run in configuration.runs]


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


def _block_diagonal(blocks: Sequence[pd.DataFrame]) -> pd.DataFrame:
    labels = [label for block in blocks for label in block.index]
    values = np.full((len(labels), len(labels)), np.nan)
    start = 0
    for block in blocks:
        stop = start + len(block)
        values[start:stop, start:stop] = block.to_numpy()
        start = stop
    return pd.DataFrame(values, index=labels, columns=labels)
