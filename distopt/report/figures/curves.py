"""The convergence figure: loss and accuracy of the center over any axis, all runs in one figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from distopt.metrics import convergence
from distopt.metrics.convergence import Axis, Curve
from distopt.records import Metric
from distopt.report.comparison.grouping import Configuration
from distopt.report.figures.style import COLUMN, PAGE, add_caption, add_legend, appearance, legend_columns
from distopt.runs.results import Run

X_LABELS: dict[Axis, str] = {
    "updates": "updates of the center",
    "samples": "samples drawn by all workers",
    "bytes": "data sent, up and down",
    "epochs": "epochs",
}
CLOCKS = {"virtual": "virtual time (s)", "wall": "wall-clock time (s)"}
LINES = ("-", "--")


def convergence_figure(
    configurations: Sequence[Configuration], x: Axis = "time", metrics: Sequence[str] | None = None
) -> Figure:
    """Draw each metric of the runs, or those named, over x in a panel.

    Validation is solid, train dashed, shaded between the extremes over seeds. An unfinished run is a separate thin line
    that ends in a cross. Metrics that no run has (analytic functions have no accuracy) get no panel.
    """
    runs = [run for configuration in configurations for run in configuration.runs]
    known = {metric.name: metric for run in runs for metric in run.metrics}
    shown = [metric for name, metric in known.items() if metrics is None or name in metrics]
    splits = [s for s in ("validation", "train") if any((run.evals["split"] == s).any() for run in runs)]
    width = PAGE if len(shown) > 1 else COLUMN
    columns = legend_columns([configuration.label for configuration in configurations], width)
    height = 2.7 + 0.17 * -(-len(configurations) // columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, metric in zip(panels, shown, strict=True):
        for configuration, shade, mark in appearance(configurations):
            for split, line in zip(splits, LINES, strict=False):
                look = {"color": shade, "linestyle": line, "marker": mark if line == "-" else ""}
                _draw(axes, configuration, metric.name, split, x, look)
        axes.set(xlabel=x_label(x, runs), ylabel=f"{metric.name} ({metric.unit})" if metric.unit else metric.name)
        _limits(axes, runs, metric, x)
    _legends(figure, configurations, splits)
    repeated = any(len(configuration.finished) > 1 for configuration in configurations)
    add_caption(figure, configurations, "shade: range over seeds" if repeated else "")
    return figure


def x_label(x: Axis, runs: Sequence[Run]) -> str:
    """Return the name and unit of an axis; for time with the kind of clock."""
    clocks = {run.info["clock"] for run in runs}
    return X_LABELS.get(x) or (CLOCKS[clocks.pop()] if len(clocks) == 1 else "time (s)")


def run_curve(run: Run, metric: str, split: str, x: Axis) -> Curve:
    """Return a metric of a run's center over x (see `metrics.convergence.curve`)."""
    commits = run.commits if x == "bytes" else None
    return convergence.curve(run.evals, metric, split, x, commits=commits, train_samples=run.info.get("train_samples"))


def _draw(axes: Axes, runs: Configuration, metric: str, split: str, x: Axis, look: dict[str, Any]) -> None:
    curves = [run_curve(run, metric, split, x) for run in runs.finished]
    band = convergence.aggregate(curves, [run.seed for run in runs.finished])
    width = 1.3 if look["marker"] else 0.8
    if np.isfinite(band.mean).any():  # matplotlib cannot place markers on a line without finite points
        axes.plot(band.x, band.mean, linewidth=width, markevery=0.15, label=f"{runs.label} ({split})", **look)
    if len(curves) > 1 and look["marker"]:
        axes.fill_between(band.x, band.low, band.high, color=look["color"], alpha=0.2, linewidth=0)
    for run in runs.runs:
        if not run.finished:
            broken = run_curve(run, metric, split, x)
            axes.plot(broken.x, broken.y, linewidth=0.7, color=look["color"], linestyle=look["linestyle"])
            axes.plot(broken.x[-1:], broken.y[-1:], "X", color=look["color"], label=f"{runs.label} ({run.status})")


def _limits(axes: Axes, runs: Sequence[Run], metric: Metric, x: Axis) -> None:
    """Set the range of y by finished runs, so that diverged runs may leave the figure; a steep fall is logarithmic."""
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if x in ("samples", "bytes", "updates"):
        axes.xaxis.set_major_formatter(EngFormatter(unit="B" if x == "bytes" else "", sep=" " if x == "bytes" else ""))
    if metric.better != "lower":
        return
    chosen = [run for run in runs if run.finished] or runs
    values = np.concatenate([run.evals[metric.name].to_numpy(float) for run in chosen if metric.name in run.evals])
    values = values[np.isfinite(values)]
    if not values.size or values.min() == values.max():
        return
    if values.min() > 0 and values.max() / values.min() > 10:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(values.min() / 1.2, values.max() * 1.2)
    else:
        margin = 0.05 * (values.max() - values.min())
        axes.set_ylim(values.min() - margin, values.max() + margin)


def _legends(figure: Figure, configurations: Sequence[Configuration], splits: Sequence[str]) -> None:
    """Add a legend of configurations above the panels, and a legend of lines and crosses in the first panel."""
    entries = [
        Line2D([], [], color=shade, marker=mark, label=configuration.label)
        for configuration, shade, mark in appearance(configurations)
    ]
    add_legend(figure, entries)
    styles = zip(splits, LINES, strict=False) if len(splits) > 1 else []
    keys = [Line2D([], [], color="0.3", linestyle=line, label=split) for split, line in styles]
    ends = sorted({run.status for c in configurations for run in c.runs if not run.finished})
    keys += [Line2D([], [], color="0.3", marker="X", linestyle="", label=", ".join(ends))] if ends else []
    if keys:
        figure.axes[0].legend(handles=keys, loc="best")
