"""The paths of center and workers as an animation."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D
from PIL import Image

from distopt.errors import ResultsError
from distopt.report.comparison.grouping import Configuration, group
from distopt.report.figures import paths
from distopt.report.figures.style import STYLE, Color, appearance
from distopt.runs.results import Run

FRAMES, PER_SECOND, DPI, COLORS = 150, 15, 100, 128


def animate(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write `paths.gif` into `folder`, configurations side by side on one clock; return the files written.

    Several groups of comparable runs get one numbered file each. Every frame is a moment on the runs' clock: the center
    with its path so far, and the workers as dots with the path of their present window; stragglers are red.

    Raises:
        ResultsError: no run has a center in the plane.
    """
    groups = group([run for run in runs if paths.drawable(run)])
    if not groups:
        raise ResultsError(
            "--animate: no run is of a function of two variables; give one with, say, model=beale dataset=none"
        )
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"paths_{i}.gif" if len(groups) > 1 else "paths.gif" for i in range(1, len(groups) + 1)]
    with matplotlib.rc_context(STYLE):
        for each, name in zip(groups, names, strict=True):
            _write(each.configurations, folder / name)
    return [folder / name for name in names]


def _write(configurations: Sequence[Configuration], file: Path) -> None:
    """Draw the background once and the moving parts in every frame, with one palette for all frames."""
    figure, panels = paths.panels_for(configurations)
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    figure.set_layout_engine("none")  # otherwise panels would shift with their content
    ground = canvas.copy_from_bbox(figure.bbox)
    looks = zip(panels, appearance(configurations), strict=True)
    actors = [Actors(axes, configuration.runs[0], shade) for axes, (configuration, shade, _) in looks]
    frames = []
    for now in np.linspace(0.0, max(actor.end for actor in actors), FRAMES):
        canvas.restore_region(ground)
        for actor in actors:
            actor.show(now)
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"))
    palette = frames[-1].quantize(COLORS, Image.Quantize.MAXCOVERAGE)
    first, *rest = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    first.save(file, save_all=True, append_images=rest, duration=1000 // PER_SECOND, loop=0)


class Actors:
    """The center and the workers of one run in a panel."""

    def __init__(self, axes: Axes, run: Run, shade: Color) -> None:
        self._centers, self._windows, slow = paths.centers(run), paths.windows(run), paths.stragglers(run)
        self._updates, self._time_s = run.evals["update"].to_numpy(), run.evals["time_s"].to_numpy(float)
        self._axes, self._clock = axes, run.info["clock"]
        self.end = float(self._time_s[-1])
        looks = {worker: (paths.STRAGGLER, 5.5, 5) if worker in slow else ("0.25", 3.0, 4) for worker in self._windows}
        self._workers = {worker: _line(axes, *look) for worker, look in looks.items()}
        self._pushes = paths.pushes(run, slow)
        self._pushed = paths.draw(axes, self._pushes, paths.STRAGGLER, 1.8, 4)
        (self._path,) = axes.plot([], [], color=shade, linewidth=1.1, zorder=3)
        (self._dot,) = axes.plot([], [], "o", color=shade, markersize=7, markeredgecolor="white", zorder=6)
        self._text = axes.text(0.03, 0.03, "", transform=axes.transAxes, zorder=7)

    def show(self, now: float) -> None:
        """Draw center and workers as they were at time `now`, over the background."""
        done = int(np.searchsorted(self._time_s, now, side="right"))
        self._path.set_data(*self._centers[:done].T)
        self._dot.set_data(*self._centers[done - 1 : done].T)
        self._pushed.set_segments(list(self._pushes.points[self._pushes.ended_s <= now]))
        self._text.set_text(f"{self._clock} time {now:.2f} s   update {self._updates[done - 1]}")
        for worker, moves in self._windows.items():
            self._workers[worker].set_data(*under_way(moves, now).T)
        for artist in (self._path, self._pushed, *self._workers.values(), self._dot, self._text):
            self._axes.draw_artist(artist)


def under_way(moves: paths.Moves, now: float) -> np.ndarray:
    """Return start and present point of the move under way at time `now`, shape (2, 2); its speed is constant.

    After the last move the present point is its end.
    """
    i = min(int(np.searchsorted(moves.ended_s, now, side="right")), len(moves.ended_s) - 1)
    share = np.interp(now, [moves.began_s[i], moves.ended_s[i]], [0.0, 1.0])
    start, end = moves.points[i]
    return np.stack([start, start + share * (end - start)])


def _line(axes: Axes, color: str, size: float, zorder: float) -> Line2D:
    """Return an empty line with a dot at its end."""
    (line,) = axes.plot([], [], color=color, linewidth=0.9, marker="o", markersize=size, markevery=[-1], zorder=zorder)
    return line
