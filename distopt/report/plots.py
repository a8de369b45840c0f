"""Figures over runs, written as PNG and SVG."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from distopt.metrics import convergence
from distopt.metrics.convergence import Axis
from distopt.report.comparison import choose, efficiency_matrix
from distopt.report.curves import convergence_figure
from distopt.report.grouping import Group, group
from distopt.report.heatmap import efficiency_figure
from distopt.report.histograms import staleness_figure
from distopt.report.paths import drawable, paths_figure
from distopt.report.style import STYLE
from distopt.results import Run


def plot_run(run: Run, folder: str | Path, x: Axis = "time") -> list[Path]:
    """Draw a run's own figures into `folder`; return the files written.

    `loss_accuracy`, `staleness`, and `paths` if its center is a point in the plane.
    """
    ((one,),) = [each.configurations for each in group([run])]
    with matplotlib.rc_context(STYLE):
        figures = {"loss_accuracy": convergence_figure([one], x), "staleness": staleness_figure([one])}
        if drawable(run):
            figures["paths"] = paths_figure([one])
        return [path for name, figure in figures.items() for path in save(figure, Path(folder), name)]


def plot_runs(
    runs: Sequence[Run], folder: str | Path, x: Axis = "time", metrics: Sequence[str] = convergence.METRICS
) -> list[Path]:
    """Draw figures over all runs into `folder`; return the files written.

    Per group of comparable runs: `convergence_X` (metrics over x, mean and range over seeds), `staleness`, `paths` on
    functions of the plane, and `temporal_efficiency` where there are two configurations. With several groups the names
    end in the group's number.
    """
    written, groups = [], group(runs)
    with matplotlib.rc_context(STYLE):
        for i, each in enumerate(groups, start=1):
            suffix = f"_{i}" if len(groups) > 1 else ""
            for name, figure in _figures(each, x, metrics):
                written += save(figure, Path(folder), name + suffix)
    return written


def _figures(each: Group, x: Axis, metrics: Sequence[str]) -> Iterator[tuple[str, Figure]]:
    yield f"convergence_{x}", convergence_figure(each.configurations, x, metrics)
    yield "staleness", staleness_figure(each.configurations)
    if drawn := [c for c in each.configurations if drawable(c.runs[0])]:
        yield "paths", paths_figure(drawn)
    if len(each.configurations) > 1:
        metric, split = choose(each.runs, metrics[0] if len(metrics) == 1 else None, None)
        matrix = efficiency_matrix(each.configurations, metric, split).to_numpy()
        yield "temporal_efficiency", efficiency_figure(each.configurations, matrix, f"{split} {metric}")


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the figure as PNG and as SVG without a date, so that equal figures are equal files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    figure.savefig(paths[0])
    figure.set_layout_engine("none")  # what was laid out for the first file holds for the second: half the time
    figure.savefig(paths[1], metadata={"Date": None})
    return paths
