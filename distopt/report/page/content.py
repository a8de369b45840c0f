"""The content of a page: groups of comparable configurations, their rows and curves, and runs with provenance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from distopt.metrics.convergence import AXES, SPLITS
from distopt.records import Metric
from distopt.report.comparison.compare import Comparison
from distopt.report.comparison.grouping import Configuration, Group, caption, differing, settings
from distopt.report.comparison.samples import told
from distopt.report.figures.curves import x_label
from distopt.report.figures.style import appearance
from distopt.report.page import columns
from distopt.report.page.answers import answers
from distopt.report.page.details import details, files
from distopt.report.page.series import Curves
from distopt.report.table import plain, text
from distopt.runs.results import Run

NAMED = 6  # optimizers that fit into a heading
MEASURES = ("time_to_target_s", "final", "te_target")  # drawn over a setting, with their intervals


def content(found: Comparison, problems: Sequence[str], folder: Path) -> dict[str, Any]:
    """Return the variables of the template; links to files are relative to `folder`, which will hold the page.

    `groups` is for the page's text and tables; `data` is plain JSON for its script.
    """
    runs = [run for group in found.groups for run in group.runs]
    curves = Curves(found.groups)
    common, own = details(runs)
    groups = [_group(*part, chosen, curves) for part, chosen in zip(found.parts, found.chosen, strict=True)]
    data = {
        "groups": [group.pop("data") for group in groups],
        "arrays": curves.arrays,
        "common": common,
        "runs": [each | files(run, folder) for each, run in zip(own, runs, strict=True)],
    }
    return {
        "title": _title([run.optimizer for run in runs]),
        "facts": _facts(runs, sum(len(group.configurations) for group in found.groups)),
        "groups": groups,
        "problems": list(problems),
        "common": common,
        "data": data,
    }


def _title(optimizers: Sequence[str]) -> str:
    names = sorted(set(optimizers))
    return ", ".join(names) if len(names) <= NAMED else f"Comparison of {len(names)} optimizers"


def _facts(runs: Sequence[Run], configurations: int) -> str:
    counts = {"run": len(runs), "configuration": configurations, "seed": len({run.seed for run in runs})}
    days = sorted({str(run.info.get("started") or "")[:10] for run in runs} - {""})
    parts = [f"{count} {word}{'s' * (count != 1)}" for word, count in counts.items()]
    return " · ".join([*parts, *([" to ".join(dict.fromkeys([days[0], days[-1]]))] if days else [])])


def _group(group: Group, rows: pd.DataFrame, chosen: tuple[Metric, str], curves: Curves) -> dict[str, Any]:
    """Return one group's answers and tables, and under `data` the content of its charts."""
    metric, split = chosen
    if (rows["runs"] == rows["seeds"]).all():
        rows = rows.drop(columns="runs")
    table = [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]
    own = [_run_row(run, metric, split) for run in group.runs]
    shown, shown_runs = columns.filled(columns.CONFIGURATIONS, table), columns.filled(columns.RUNS, own)
    names = [
        {"label": c.label, "optimizer": c.optimizer, "color": to_hex(color)}
        for c, color, _ in appearance(group.configurations)
    ]
    order = [i for i, configuration in enumerate(group.configurations) for _ in configuration.runs]
    return {
        "name": group.name,
        "caption": " · ".join(filter(None, [caption(group.runs), told(group.left_out)])),
        "metric": f"{split} {metric.name}",
        "target": text("target", table[0]["target"]) if np.isfinite(table[0]["target"]) else "",
        "answers": answers(group, table, metric, split),
        "columns": shown,
        "configurations": [name | {"cells": columns.cells(shown, row)} for name, row in zip(names, table, strict=True)],
        "run_columns": shown_runs,
        "runs": [
            {"configuration": i, "cells": columns.cells(shown_runs, row)} for i, row in zip(order, own, strict=True)
        ],
        "data": {
            "metric": f"{split} {metric.name}",
            "lower": [f"{s} {m.name}" for s in SPLITS for m in _metrics(group.runs) if m.better == "lower"],
            "target": plain(table[0]["target"]),
            "axes": {axis: x_label(axis, group.runs) for axis in AXES},
            "facets": facets(group.configurations),
            "configurations": [
                name | _drawn(configuration, row, curves)
                for name, configuration, row in zip(names, group.configurations, table, strict=True)
            ],
        },
    }


def _drawn(configuration: Configuration, row: Mapping[str, Any], curves: Curves) -> dict[str, Any]:
    """Return the curves of a configuration and of its unfinished runs, and its numbers with their intervals."""
    broken = [
        {"name": f"{configuration.label}, seed {run.seed}: {run.status}", "curves": curves.over_axes([run])}
        for run in configuration.runs
        if not run.finished
    ]
    numbers = {name: [plain(row[f"{name}{end}"]) for end in ("", "_low", "_high")] for name in MEASURES}
    return {"curves": curves.over_axes(configuration.finished), "broken": broken, "numbers": numbers}


def facets(configurations: Sequence[Configuration]) -> dict[str, list[str | None]]:
    """Return the settings in which the configurations differ, with the value of each configuration.

    None where a setting does not apply, such as that of another optimizer. Of settings that always change together only
    the first is returned. The optimizer's name is left out.
    """
    apart = differing([settings(configuration.runs[0]) for configuration in configurations])
    found: dict[tuple[int, ...], tuple[str, list[str | None]]] = {}
    for key in dict.fromkeys(key for each in apart for key in each if key != "optimizer.name"):
        values = [each.get(key) for each in apart]
        found.setdefault(tuple(values.index(value) for value in values), (key, values))
    return dict(found.values())


def _metrics(runs: Sequence[Run]) -> list[Metric]:
    """Return the metrics of runs, each once."""
    return list({metric.name: metric for run in runs for metric in run.metrics}.values())


def _run_row(run: Run, metric: Metric, split: str) -> dict[str, Any]:
    started = str(run.info.get("started") or "")[:19].replace("T", " ")
    row = {"seed": run.seed, "status": run.status, "total_s": run.info.get("total_s"), "started": started or None}
    row |= {key: run.summary.get(key) for key in ("time_s", "updates", "epochs")}
    return row | {key: run.summary.get(f"{split}_{metric.name}_{key}") for key in ("final", "best")}
