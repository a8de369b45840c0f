"""The figure of scaling factors: how much a server rule shrinks commits, over time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from distopt.report.comparison.grouping import Configuration
from distopt.report.figures.curves import x_label
from distopt.report.figures.style import COLUMN, PAGE, add_caption, add_legend, appearance

COLUMNS = ("scale_mean", "scale_q05", "scale_min")
BINS = 60


def factors_figure(configurations: Sequence[Configuration]) -> Figure | None:
    """Draw mean, 0.05 quantile and minimum over the weights of the factors in (0, 1], one panel per configuration.

    A line is the median over the commits of all seeds in each sixtieth of the time; the shade is the 5 to 95 % range of
    the mean. None if no rule records factors.
    """
    shown = [look for look in appearance(configurations) if any(_factors(run.commits) for run in look[0].runs)]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    size = (COLUMN if columns == 1 else PAGE, 1.0 + 1.5 * rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (configuration, shade, _) in zip(panels, shown, strict=False):
        binned = quantiles(pd.concat([run.commits for run in configuration.runs if _factors(run.commits)]))
        axes.fill_between(binned.index, binned["low"], binned["high"], color=shade, alpha=0.2, linewidth=0)
        for column, line in zip(COLUMNS, ("-", "--", ":"), strict=True):
            label = {"scale_mean": "mean", "scale_q05": "5 % quantile", "scale_min": "minimum"}[column]
            axes.plot(binned.index, binned[column], line, color=shade, label=label)
        axes.set_title(configuration.label, loc="left")
        axes.set(ylim=(-0.03, 1.03), xlim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for axes in panels[len(shown) :]:
        axes.remove()
    for axes in panels[max(0, len(shown) - columns) : len(shown)]:
        axes.set_xlabel(x_label("time", shown[0][0].runs))
        axes.xaxis.set_tick_params(labelbottom=True)
    figure.supylabel("scaling factor over weights", fontsize=8)
    add_legend(figure, panels[0].get_legend_handles_labels()[0])
    add_caption(figure, configurations, "shade: 5–95 % of commits' means")
    return figure


def quantiles(commits: pd.DataFrame, bins: int = BINS) -> pd.DataFrame:
    """Return medians of the columns of factors, and `low` and `high` of the mean, by the middle of each time bin."""
    end = float(commits["time_s"].max()) or 1.0
    place = np.minimum((commits["time_s"].to_numpy(float) / end * bins).astype(int), bins - 1)
    binned = commits.groupby(place)
    found = binned[list(COLUMNS)].median()
    found = found.assign(low=binned["scale_mean"].quantile(0.05), high=binned["scale_mean"].quantile(0.95))
    return found.set_index((found.index + 0.5) * end / bins)


def _factors(commits: pd.DataFrame) -> bool:
    return len(commits) > 0 and all(column in commits for column in COLUMNS)
