"""The figure of schedules: the learning rate of each commit, over time."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from distopt.report.comparison.grouping import Configuration
from distopt.report.figures.curves import x_label
from distopt.report.figures.style import COLUMN, add_caption, add_legend, appearance

POINTS = 2000  # of a line


def rates_figure(configurations: Sequence[Configuration]) -> Figure | None:
    """Draw the column `rate` of the commits of each configuration's first run, a line per worker.

    None if no run follows a schedule.
    """
    shown = [look for look in appearance(configurations) if "rate" in look[0].runs[0].commits]
    if not shown:
        return None
    figure = Figure(figsize=(COLUMN, 2.7), layout="constrained")
    axes = figure.subplots()
    for configuration, shade, _ in shown:
        run = configuration.runs[0]
        commits, label = run.commits.iloc[:: max(1, len(run.commits) // POINTS)], configuration.label
        for _, of_worker in commits.groupby("worker"):
            axes.plot(of_worker["time_s"], of_worker["rate"], color=shade, linewidth=0.8, label=label)
            label = "_"  # one entry of the legend for all workers
    axes.set(xlabel=x_label("time", shown[0][0].runs), ylabel="learning rate", xlim=(0, None), ylim=(0, None))
    add_legend(figure, axes.get_legend_handles_labels()[0])
    add_caption(figure, [configuration for configuration, *_ in shown], "first run of each; a line per worker")
    return figure
