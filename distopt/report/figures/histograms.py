"""The staleness figure: one small normalised histogram per configuration."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from distopt.metrics import staleness
from distopt.report.comparison.grouping import Configuration
from distopt.report.figures.style import COLUMN, PAGE, Color, add_caption, appearance

BINS = 60


def staleness_figure(configurations: Sequence[Configuration]) -> Figure:
    """Draw the share of commits with each staleness, commits of all seeds together, in one panel per configuration.

    The panels share the x-axis, which ends at the largest 0.999 quantile; the dotted line marks n - 1, the mean of an
    asynchronous run whose workers never wait.
    """
    rows = -(-len(configurations) // 5)
    columns = -(-len(configurations) // rows)
    size = (COLUMN if columns == 1 else PAGE, 0.7 + 1.25 * rows + (0.6 if columns == 1 else 0.0))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    pooled = [pd.concat([run.commits for run in c.runs], ignore_index=True) for c in configurations]
    end = max((float(c["staleness"].quantile(0.999)) for c in pooled if len(c)), default=0.0)
    for axes, commits, (configuration, shade, _) in zip(panels, pooled, appearance(configurations), strict=False):
        _draw(axes, commits, shade, width=1 + int(end) // BINS)
        if commits["staleness"].max() > 0:
            expected = int(configuration.runs[0].config["workers"]) - 1
            axes.axvline(expected, ymax=0.86, color="0.2", linewidth=0.8, linestyle=":")
        axes.set_title(configuration.label, loc="left")
        axes.set_xlim(-0.5, max(end, 1.0) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes in panels[len(configurations) :]:
        axes.remove()
    for axes in panels[len(configurations) - columns : len(configurations)]:
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in panels[columns * (rows - 1) : len(configurations)]:
        axes.set_xlabel("staleness (updates)", fontsize=7)
    figure.supylabel("share of commits", fontsize=8)
    add_caption(figure, configurations, "dotted: n − 1")
    return figure


def _draw(axes: Axes, commits: pd.DataFrame, shade: Color, width: int) -> None:
    """Draw one histogram with bins of `width` updates, with mean and maximum in the top line."""
    values, shares = staleness.histogram(commits)
    if not values.size:
        axes.set_yticks([])
        axes.grid(False)
        axes.text(0.5, 0.5, "no commits", transform=axes.transAxes, ha="center", va="center", fontsize=7, color="0.35")
        return
    heights = np.add.reduceat(shares, np.arange(0, shares.size, width))
    axes.stairs(heights, np.arange(heights.size + 1) * width - 0.5, fill=True, color=shade)
    numbers = staleness.describe(staleness.accepted(commits)["staleness"])
    note = f"mean {numbers['mean']:.1f}, max {numbers['max']:.0f}"
    axes.text(0.5, 0.99, note, transform=axes.transAxes, ha="center", va="top", fontsize=6, color="0.2")
    axes.set_ylim(0, 1.2 * heights.max())
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.grid(False)
