"""Figures over a grid of settings: performance profiles, and sensitivity to learning rate and window."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter

from distopt.metrics.profiles import MAX_RATIO, profile
from distopt.report.comparison.grid import Profiles, grids, shortfall
from distopt.report.comparison.grouping import Configuration, Group
from distopt.report.figures.style import COLUMN, PAGE, add_caption, add_legend, appearance, color, marker

NAMES = {"learning_rate": "learning rate", "window": "window (local steps)"}
LINES = 8
LARGEST = 0.1  # largest distance from the best in the sensitivity panel


def profile_figure(found: Profiles, configurations: Sequence[Configuration]) -> Figure | None:
    """Draw for each optimizer the share of workloads on which it needs at most q times the time of the fastest.

    None with fewer than two workloads.
    """
    if len(found.costs) < 2:
        return None
    figure = Figure(figsize=(COLUMN, 2.9), layout="constrained")
    axes = figure.subplots()
    within = np.geomspace(1, MAX_RATIO, 400)
    shares = profile(found.ratios, within)
    for i, (name, score) in enumerate(zip(found.optimizers, found.table()["score"], strict=True)):
        label = f"{name} ({score:.2f})"
        axes.step(
            within,
            shares[:, i],
            where="post",
            color=color(name),
            marker=marker(name),
            markevery=(i * 9, 80),
            label=label,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 1.5, 2, 3, 4])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="time to target over the fastest one's", ylabel="share of workloads", ylim=(-0.03, 1.03))
    add_legend(figure, axes.get_legend_handles_labels()[0])
    add_caption(figure, configurations, f"{len(found.costs)} workloads; in brackets: score")
    return figure


def sensitivity_figure(group: Group, rows: pd.DataFrame) -> Figure | None:
    """Draw the final metric over learning rate and over window, and the share of the grid within x of the best.

    A line is an optimizer in one grid (see `grid.sensitivity`); over one setting it shows the best value over the
    other, with its 95 % interval. With more than eight grids only each optimizer's best grid is drawn. None without a
    grid.
    """
    found = _few(list(grids(group, rows)))
    varied = [name for name in NAMES if any(members[name].nunique() > 1 for _, _, members in found)]
    if not varied:
        return None
    figure = Figure(figsize=(PAGE if varied[1:] else 0.72 * PAGE, 2.7), layout="constrained")
    panels = figure.subplots(1, len(varied) + 1)
    looks = _looks(group, [(optimizer, grid) for optimizer, grid, _ in found])
    for (optimizer, grid, members), (shade, mark) in zip(found, looks, strict=True):
        label = f"{optimizer} {grid}".strip()
        for axes, name in zip(panels, varied, strict=False):
            _best_over(axes, members, name, shade, mark)
        within = np.linspace(0, LARGEST, 201)
        shares = (shortfall(members)[None] <= within[:, None] + 1e-12).mean(axis=1)
        panels[-1].step(within, shares, where="post", color=shade, marker=mark, markevery=40, label=label)
    for axes, name in zip(panels, varied, strict=False):
        axes.set(xlabel=NAMES[name], ylabel=f"final {rows['metric'].iloc[0]}", xscale="log")
        if name == "window":
            axes.set_xticks(sorted({x for _, _, members in found for x in members[name].dropna()}))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
    panels[-1].set(xlabel="at most this far from the best", ylabel="share of the grid", ylim=(-0.03, 1.03))
    panels[-1].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    add_legend(figure, panels[-1].get_legend_handles_labels()[0])
    add_caption(figure, group.configurations, "bars: 95 % intervals")
    return figure


def _few(found: list[tuple[str, str, pd.DataFrame]]) -> list[tuple[str, str, pd.DataFrame]]:
    if len(found) <= LINES:
        return found
    order = np.argsort(shortfall(pd.concat([members for _, _, members in found])), kind="stable")
    owner = np.repeat(np.arange(len(found)), [len(members) for _, _, members in found])[order]
    first: dict[str, int] = {}
    for i in owner:
        first.setdefault(found[i][0], int(i))
    return [found[i] for i in sorted(first.values())]


def _looks(group: Group, found: Sequence[tuple[str, str]]) -> list[tuple[tuple[float, float, float], str]]:
    """Return the look of each grid: that of its optimizer, with several grids of one optimizer as variants."""
    first = {c.optimizer: c for c in group.configurations}
    return [(shade, mark) for _, shade, mark in appearance([first[optimizer] for optimizer, _ in found])]


def _best_over(axes: Axes, members: pd.DataFrame, name: str, shade: tuple[float, float, float], mark: str) -> None:
    """Draw the best final value at each value of a setting."""
    known = members.dropna(subset=[name, "final"]).assign(worse=lambda rows: shortfall(rows) if len(rows) else [])
    if known.empty:
        return
    best = known.loc[known.groupby(name)["worse"].idxmin()].sort_values(name)
    bars = np.nan_to_num((best["final_high"] - best["final"]).to_numpy(float), nan=0.0)
    axes.errorbar(best[name], best["final"], bars, color=shade, marker=mark, capsize=2, elinewidth=0.8)
