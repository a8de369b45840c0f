"""The distance figure: how far the center moved in parameter space while a commit was computed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from distopt.report.comparison.grouping import Configuration
from distopt.report.figures.style import COLUMN, add_caption, add_legend, appearance

POINTS = 1000  # of a curve, which may be over millions of commits


def distance_figure(configurations: Sequence[Configuration]) -> Figure | None:
    """Draw the cumulative share of commits over ‖θ̃_now − θ̃_pulled‖₂, commits of all seeds together.

    A curve starts at the share of commits with distance 0 (no other worker committed in between, as under a barrier).
    None if all distances are 0.
    """
    pooled = [pd.concat([run.commits["distance"] for run in c.runs]).to_numpy(float) for c in configurations]
    pooled = [np.sort(distances[np.isfinite(distances)]) for distances in pooled]
    if not any((distances > 0).any() for distances in pooled):
        return None
    figure = Figure(figsize=(COLUMN, 2.7), layout="constrained")
    axes = figure.subplots()
    for distances, (configuration, shade, mark) in zip(pooled, appearance(configurations), strict=True):
        label = configuration.label
        look: dict[str, Any] = {"color": shade, "marker": mark, "markevery": 0.15}
        moved = distances[distances > 0]
        if moved.size:
            shares = 1 - np.arange(moved.size)[::-1] / distances.size
            some = np.unique(np.linspace(0, moved.size - 1, POINTS).astype(int))
            axes.step(moved[some], shares[some], where="post", label=label, **look)
        else:
            axes.plot([], [], label=f"{label} (always 0)", **look)
    _scale(axes, pooled)
    axes.set(xlabel="distance ‖now − pulled‖₂", ylabel="share of commits", ylim=(0, 1.03))
    add_legend(figure, axes.get_legend_handles_labels()[0])
    add_caption(figure, configurations)
    return figure


def _scale(axes: Axes, pooled: Sequence[np.ndarray]) -> None:
    """Set the x-axis, logarithmic from the 0.01 quantile on if distances differ by more than a factor of 30."""
    moved = np.concatenate([distances[distances > 0] for distances in pooled])
    low, high = np.quantile(moved, 0.01), moved.max()
    if high > 30 * low:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(low, high * 1.1)
    else:
        axes.set_xlim(0, high * 1.05)
