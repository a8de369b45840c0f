"""Figures over runs: convergence, staleness, temporal efficiency; PNG and SVG, with the common setting in a caption."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from distopt.metrics import convergence, efficiency, staleness
from distopt.metrics.convergence import Axis, Curve
from distopt.report.grouping import Configuration, caption, group
from distopt.report.style import COLUMN, PAGE, STYLE, color, marker
from distopt.results import Run

SPLITS = {"validation": "-", "train": "--"}
X_LABELS = {
    "time": "training time (s)",
    "updates": "updates of the center",
    "samples": "samples drawn by all workers",
    "bytes": "data sent, up and down (MB)",
    "epochs": "epochs",
}
Configurations = Sequence[Configuration]


def plot_run(run: Run, folder: str | Path, x: Axis = "time") -> list[Path]:
    """Draw a run's own figures, `loss_accuracy` and `staleness`, into `folder`; return the files written."""
    (only,) = group([run])
    figures: dict[str, Callable[[], Figure]] = {
        "loss_accuracy": lambda: convergence_figure(only.configurations, x),
        "staleness": lambda: staleness_figure(only.configurations),
    }
    return [path for name, draw in figures.items() for path in _save(draw, Path(folder) / name)]


def plot_runs(
    runs: Sequence[Run], folder: str | Path, x: Axis = "time", metrics: Sequence[str] = convergence.METRICS
) -> list[Path]:
    """Draw figures over all runs into `folder`; return the files written.

    Per group of comparable runs: `convergence_X` (metrics over x, mean and range over seeds), `staleness` and
    `temporal_efficiency` (needs two configurations). Several groups get a number in the file's name.
    """
    written = []
    groups = group(runs)
    for i, each in enumerate(groups, start=1):
        suffix = f"_{i}" if len(groups) > 1 else ""
        configurations = each.configurations
        figures: dict[str, Callable[[], Figure]] = {
            f"convergence_{x}{suffix}": lambda c=configurations: convergence_figure(c, x, metrics),
            f"staleness{suffix}": lambda c=configurations: staleness_figure(c),
        }
        if len(configurations) > 1:
            name = f"temporal_efficiency{suffix}"
            figures[name] = lambda c=configurations: efficiency_figure(c, _present(c, metrics)[0])
        for name, draw in figures.items():
            written += _save(draw, Path(folder) / name)
    return written


def convergence_figure(
    configurations: Configurations, x: Axis = "time", metrics: Sequence[str] = convergence.METRICS
) -> Figure:
    """Draw each metric over x in a panel of its own: validation solid, train dashed, the range over seeds shaded.

    A run that did not come to its end is drawn by itself, thin, and ends in a cross.
    """
    metrics = _present(configurations, metrics)
    figure = Figure(figsize=(PAGE if len(metrics) > 1 else COLUMN, 2.6), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        for configuration, shade, mark in _appearance(configurations):
            for split in SPLITS:
                _draw(axes, configuration, metric, split, x, shade, mark)
        axes.set(xlabel=X_LABELS[x], ylabel=metric)
        _scale(axes, metric)
    _legend(figure, configurations, {split for c in configurations for r in c.runs for split in r.evals["split"]})
    _caption(figure, configurations)
    return figure
