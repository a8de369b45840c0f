"""The paths figure: center and workers over the contour of a function of the plane."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from distopt.metrics.staleness import applied
from distopt.report.comparison.grouping import Configuration
from distopt.report.figures.style import PAGE, Color, add_caption, appearance
from distopt.runs.results import Run

STRAGGLER, WORKER = "#CC3311", "0.45"
GRID, LEVELS, LARGEST = 160, 18, 1e-5  # grid points per axis, contour lines, lowest level over the highest
COLUMNS = 3  # panels side by side
MANY = 2000  # more lines are drawn as pixels, because they would make the SVG large
Function = Callable[[np.ndarray], np.ndarray]


class Moves(NamedTuple):
    """Straight moves in the plane, in order of time."""

    began_s: np.ndarray  # shape (m,)
    ended_s: np.ndarray  # shape (m,)
    points: np.ndarray  # start and end, shape (m, 2, 2)


class Scene(NamedTuple):
    """A function with its minimum and the starting point."""

    function: Function  # points of shape (m, 2) to values of shape (m,)
    minimum: np.ndarray  # shape (2,)
    start: np.ndarray


def drawable(run: Run) -> bool:
    """Return whether a run's center is a point in the plane, as on a function of two variables."""
    return {"x0", "x1"} <= set(run.evals) and "x2" not in run.evals and len(run.evals) > 0


def scene(settings: Mapping[str, Any]) -> Scene:
    """Build the function that the configuration group `model` describes."""
    import jax  # here, because other figures do not need it

    from distopt import models

    model = models.build(settings, None, None)
    value = jax.jit(jax.vmap(lambda x: model.loss({"x": x}, {}, (), None)[0]))
    return Scene(lambda points: np.asarray(value(points)), np.array(model.minimum), np.array(settings["start"], float))


def windows(run: Run) -> dict[int, Moves]:
    """Return the windows of each worker, each from the point it adopted to the point of its commit.

    Empty if the run did not record them.
    """
    if "start_x0" not in run.commits:
        return {}
    return {int(str(worker)): _windows(rows) for worker, rows in run.commits.groupby("worker")}


def _windows(rows: pd.DataFrame) -> Moves:
    ended = rows["time_s"].to_numpy(float)
    points = rows[["start_x0", "start_x1", "end_x0", "end_x1"]].to_numpy(float)
    return Moves(np.concatenate([[0.0], ended[:-1]]), ended, points.reshape(-1, 2, 2))


def centers(run: Run) -> np.ndarray:
    """Return the evaluated centers of a run, shape (m, 2)."""
    return run.evals[["x0", "x1"]].to_numpy(float)


def stragglers(run: Run) -> set[int]:
    """Return the workers that always straggle on the virtual cluster."""
    return (
        set(run.config["cluster"].get("stragglers", {}).get("workers", [])) if run.info["clock"] == "virtual" else set()
    )


def pushes(run: Run, workers: set[int]) -> Moves:
    """Return how single commits of `workers` moved the center.

    Only updates with an evaluation before and after count; with `evaluate.every=1` all do.
    """
    commits = applied(run.commits)
    alone = commits[commits["worker"].isin(workers) & ~commits["update"].duplicated(keep=False)]
    known = run.evals.set_index("update")[["x0", "x1"]]
    alone = alone[alone["update"].isin(known.index) & (alone["update"] - 1).isin(known.index)]
    ends = [known.loc[alone["update"] - back].to_numpy(float) for back in (1, 0)]
    return Moves(alone["time_s"].to_numpy(float), alone["time_s"].to_numpy(float), np.stack(ends, axis=1))


def paths_figure(configurations: Sequence[Configuration]) -> Figure:
    """Draw, for the first run of each configuration, the center's path in its colour and the workers' paths in grey.

    A worker that always straggles is red, as are the moves of the center by its commits. The circle is the start, the
    star the minimum; contour lines are evenly spaced in the logarithm of the function.
    """
    figure, panels = panels_for(configurations)
    for axes, (configuration, shade, _) in zip(panels, appearance(configurations), strict=True):
        run = configuration.runs[0]
        slow = stragglers(run)
        for worker, moves in windows(run).items():
            look = (STRAGGLER, 1.2, 5) if worker in slow else (WORKER, 0.4, 2)
            draw(axes, moves, *look)
        axes.plot(*centers(run).T, color=shade, linewidth=1.3, zorder=3)
        draw(axes, pushes(run, slow), STRAGGLER, 1.8, 4)
    return figure


def panels_for(configurations: Sequence[Configuration]) -> tuple[Figure, list[Axes]]:
    """Return a figure with the contour in one panel per configuration, all with the same limits, and a legend."""
    columns = min(COLUMNS, len(configurations))
    rows = -(-len(configurations) // columns)
    size = PAGE / max(columns, 2)
    figure = Figure(figsize=(size * columns, size * rows + 0.55), layout="compressed")
    panels = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels[len(configurations) :]:
        axes.remove()
    runs = [configuration.runs[0] for configuration in configurations]
    ground = scene(runs[0].config["model"])
    corner, side = limits(ground, runs)
    for axes, configuration in zip(panels, configurations, strict=False):
        draw_contour(axes, ground, corner, side)
        axes.set_title(configuration.label, loc="left")
    _legend(figure, configurations, any(stragglers(run) for run in runs))
    add_caption(figure, configurations)
    return figure, panels[: len(configurations)]


def limits(ground: Scene, runs: Sequence[Run]) -> tuple[np.ndarray, float]:
    """Return the lower left corner and the side of a square that shows the centers' paths.

    It contains start and minimum, and the parts of the paths that are no further from them than they are from each
    other.
    """
    fixed = np.stack([ground.start, ground.minimum])
    reach = max(float(np.abs(fixed[0] - fixed[1]).max()), 0.1)
    points = np.concatenate([fixed, *(centers(run) for run in runs)])
    points = points[np.isfinite(points).all(axis=1)].clip(fixed.min(axis=0) - reach, fixed.max(axis=0) + reach)
    low, high = points.min(axis=0), points.max(axis=0)
    side = 1.2 * float((high - low).max())
    return (low + high - side) / 2, side


def draw_contour(axes: Axes, ground: Scene, corner: np.ndarray, side: float) -> None:
    """Draw the contour of a function over a square, with its minimum and the start."""
    x, y = (np.linspace(first, first + side, GRID) for first in corner)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    values = ground.function(grid) - ground.function(ground.minimum[None])
    levels = np.geomspace(values.max() * LARGEST, values.max(), LEVELS)
    shape = values.clip(levels[0]).reshape(GRID, GRID)
    shades = axes.contourf(x, y, shape, levels, cmap="Blues_r", norm=LogNorm(), alpha=0.3, zorder=0, extend="min")
    shades.set_rasterized(True)  # as vectors they would be most of the SVG's size
    axes.contour(x, y, shape, levels, colors="0.75", linewidths=0.4, zorder=1)
    axes.plot(*ground.start, "o", color="black", markerfacecolor="white", zorder=6)
    axes.plot(*ground.minimum, "*", color="black", markersize=8, zorder=6)
    axes.set(xlim=(corner[0], corner[0] + side), ylim=(corner[1], corner[1] + side), aspect="equal")
    axes.grid(False)


def draw(axes: Axes, moves: Moves, color: Color | str, width: float, zorder: float) -> LineCollection:
    """Draw moves as separate lines, because between two windows a worker jumps to the point it adopts."""
    lines = LineCollection(list(moves.points), colors=[color], linewidths=width, zorder=zorder)
    lines.set_rasterized(len(moves.points) > MANY)
    axes.add_collection(lines, autolim=False)
    return lines


def _legend(figure: Figure, configurations: Sequence[Configuration], straggles: bool) -> None:
    """Add a legend of lines and marks above the panels."""
    shades = {shade for _, shade, _ in appearance(configurations)}
    keys = [Line2D([], [], color=shades.pop() if len(shades) == 1 else "black", label="center")]
    keys.append(Line2D([], [], color=WORKER, linewidth=0.6, label="workers"))
    if straggles:
        keys.append(Line2D([], [], color=STRAGGLER, label="straggler, and what it does to the center"))
    keys.append(Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="", label="start"))
    keys.append(Line2D([], [], color="black", marker="*", markersize=7, linestyle="", label="minimum"))
    figure.legend(
        handles=keys, loc="outside upper center", ncols=3 if straggles and len(configurations) == 1 else len(keys)
    )
