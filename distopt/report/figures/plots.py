"""Figures over runs, written as PNG and SVG."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from distopt.errors import ResultsError
from distopt.metrics.convergence import Axis
from distopt.records import ACCURACY, LOSS, Metric
from distopt.report.comparison.compare import compare_runs, efficiency_matrix
from distopt.report.comparison.grid import cells, leading, profiles
from distopt.report.comparison.grouping import Group, group
from distopt.report.figures.curves import convergence_figure
from distopt.report.figures.distances import distance_figure
from distopt.report.figures.factors import factors_figure
from distopt.report.figures.heatmap import difference_figure, efficiency_figure, grid_figure
from distopt.report.figures.histograms import staleness_figure
from distopt.report.figures.momenta import momentum_figure
from distopt.report.figures.paths import drawable, paths_figure
from distopt.report.figures.profile import profile_figure, sensitivity_figure
from distopt.report.figures.rates import rates_figure
from distopt.report.figures.scaling import scaling_figure
from distopt.report.figures.style import STYLE
from distopt.report.figures.timeline import timeline_figure
from distopt.runs.results import Run

MANY = 12  # configurations that one figure can show


def plot_run(run: Run, folder: str | Path, x: Axis = "time", written: Sequence[Path] = ()) -> list[Path]:
    """Draw a run's own figures into `folder`, but for files that were just written there; return the files written.

    `loss_accuracy`, or with another primary metric `loss_METRIC`, `staleness`, and `paths` if its center is a point in
    the plane.
    """
    ((one,),) = [each.configurations for each in group([run])]
    drawn = {path.resolve().with_suffix("") for path in written}
    primary = run.metrics[0]
    curves = f"loss_{(ACCURACY if primary == LOSS else primary).name}"
    figures = {curves: partial(convergence_figure, [one], x), "staleness": partial(staleness_figure, [one])}
    if drawable(run):
        figures["paths"] = partial(paths_figure, [one])
    with matplotlib.rc_context(STYLE):
        return [
            path
            for name, draw in figures.items()
            if (Path(folder) / name).resolve() not in drawn
            for path in save(draw(), Path(folder), name)
        ]


def plot_runs(
    runs: Sequence[Run],
    folder: str | Path,
    x: Axis = "time",
    metrics: Sequence[str] | None = None,
    *,
    reference: str | None = None,
    target: float | None = None,
) -> list[Path]:
    """Draw the figures that the runs allow into `folder`; return the files written.

    Per group of comparable runs: `convergence_X` (metrics over x, mean and range over seeds), `staleness`, `distance`,
    `timeline` of the workers, `factors` of rules that scale commits, `rates` where a schedule changes them, `paths` on
    functions of the plane; with two
    configurations `temporal_efficiency`; with two numbers of workers and two windows `grid`, and with two such
    optimizers `grid_difference`; with three numbers of workers `scaling`; with several learning rates or windows
    `sensitivity`; with seeds on an analytic function, evaluated after every update, `momentum`. With several groups,
    file names end in the group's number. Over all groups, with two workloads that optimizers share, `profile`. With
    more than a dozen configurations, figures with a line or panel per configuration show only the leading one of each
    optimizer.
    """
    for name in metrics or ():
        if not any(name == each.name for run in runs for each in run.metrics):
            raise ResultsError(f"metric={name}: no run has such a metric; see `metrics` in run.json")
    metric = metrics[0] if metrics else None
    found = compare_runs(runs, reference=reference, target=target, metric=metric)
    written = []
    with matplotlib.rc_context(STYLE):
        for i, (each, rows) in enumerate(found.parts, start=1):
            suffix = f"_{i}" if len(found.groups) > 1 else ""
            for name, figure in _figures(each, rows, x, metrics):
                if figure:
                    written += save(figure, Path(folder), name + suffix)
        every = [configuration for each in found.groups for configuration in each.configurations]
        if figure := profile_figure(profiles(cells(found.parts)), every):
            written += save(figure, Path(folder), "profile")
    return written


def _figures(
    each: Group, rows: pd.DataFrame, x: Axis, metrics: Sequence[str] | None
) -> Iterator[tuple[str, Figure | None]]:
    shown = leading(each, rows) if len(each.configurations) > MANY else each.configurations
    yield f"convergence_{x}", convergence_figure(shown, x, metrics)
    yield "staleness", staleness_figure(shown)
    yield "distance", distance_figure(shown)
    yield "factors", factors_figure(shown)
    yield "rates", rates_figure(shown)
    yield "timeline", timeline_figure(shown)
    if drawn := [c for c in shown if drawable(c.runs[0])]:
        yield "paths", paths_figure(drawn)
    if len(shown) > 1:
        split, name = str(rows["metric"].iloc[0]).split()
        matrix = efficiency_matrix(shown, Metric(name, rows["better"].iloc[0]), split).to_numpy()
        yield "temporal_efficiency", efficiency_figure(shown, matrix, f"{split} {name}")
    yield "grid", grid_figure(each, rows)
    yield "grid_difference", difference_figure(each, rows)
    yield "scaling", scaling_figure(each, rows)
    yield "momentum", momentum_figure(each, rows)
    yield "sensitivity", sensitivity_figure(each, rows)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write the figure as PNG and as SVG without a date, so that equal figures are equal files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    figure.savefig(paths[0])
    figure.set_layout_engine("none")  # the layout of the first file is reused, which halves the time
    figure.savefig(paths[1], metadata={"Date": None})
    return paths
