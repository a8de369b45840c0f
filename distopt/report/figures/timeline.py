"""The time line of workers: what each worker did when, from the commits of a run."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distopt.report.comparison.grouping import Configuration
from distopt.report.figures.curves import x_label
from distopt.report.figures.style import COLUMN, Color, add_caption, add_legend, color

WORKERS, ROWS, WINDOWS = 16, 32, 6  # most workers per run, rows in all, and windows per worker that can be told apart
COLUMNS = ("compute_s", "exchange_s", "server_s")
LOOKS = {"wait": "0.88", "exchange": "0.15"}


class Spans(NamedTuple):
    """Beginnings and lengths of spans of time, each of shape (windows, 2), in seconds on the run's clock."""

    compute: npt.NDArray[np.float64]
    wait: npt.NDArray[np.float64]
    exchange: npt.NDArray[np.float64]


def timeline_figure(configurations: Sequence[Configuration]) -> Figure | None:
    """Draw the first windows of some workers as bars: compute in colour, wait light, exchange dark.

    A panel is the first run of a configuration; all panels share one clock. `wait` lasts from the end of a window until
    the server begins with its commit: upload, queue, and under a barrier the slower workers. `exchange` is the server's
    work and the reply. None if no run recorded these times.
    """
    shown = [c for c in configurations if all(column in c.runs[0].commits for column in COLUMNS)]
    shown = [c for c in shown if len(c.runs[0].commits)]
    if not shown:
        return None
    most = min(WORKERS, max(2, ROWS // len(shown)))
    found = [lines(c.runs[0].commits, most) for c in shown]
    end = max(np.median([each.compute[: WINDOWS + 1, 0].max() for each in rows.values()]) for rows in found)
    end = float(end) or max(float(c.runs[0].commits["time_s"].max()) for c in shown)
    heights = [len(rows) for rows in found]
    size = (COLUMN, 1.0 + 0.14 * max(4, sum(heights)) + 0.25 * len(shown))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True, height_ratios=heights).ravel()
    for axes, configuration, rows in zip(panels, shown, found, strict=True):
        _draw(axes, rows, color(configuration.optimizer), end)
        left_out = configuration.runs[0].commits["worker"].nunique() - len(rows)
        more = f" (and {left_out} more workers)" if left_out else ""
        axes.set_title(f"{configuration.label}{more}", loc="left")
    panels[-1].set(xlim=(0, end), xlabel=x_label("time", [c.runs[0] for c in shown]))
    figure.supylabel("worker", fontsize=8)
    add_legend(figure, panels[0].get_legend_handles_labels()[0])
    add_caption(figure, shown)
    return figure


def lines(commits: pd.DataFrame, most: int) -> dict[int, Spans]:
    """Return the spans of the first `most` workers."""
    workers = sorted(commits["worker"].unique())[:most]
    return {int(worker): spans(commits[commits["worker"] == worker]) for worker in workers}


def _draw(axes: Axes, rows: Mapping[int, Spans], shade: Color, end: float) -> None:
    for row, each in enumerate(rows.values()):
        for name, look in {"compute": shade, **LOOKS}.items():
            bars = getattr(each, name)
            bars = bars[bars[:, 0] < end]
            axes.broken_barh(bars.tolist(), (row - 0.4, 0.8), facecolor=look, label=name if row == 0 else None)
            if name == "compute":
                axes.vlines(bars[:, 0], row - 0.4, row + 0.4, color="white", linewidth=0.4)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [str(worker) for worker in rows])
    axes.grid(False)


def spans(commits: pd.DataFrame) -> Spans:
    """Return the spans of one worker, from its commits in the order applied.

    A window's row has its duration and the time since the end of the last window. The first window begins at time 0, or
    later, so that no window begins before the last commit was applied: real workers start a little later than the
    server. The gap after a window is divided where the server began with its commit, `time_s - server_s`.
    """
    compute, gap = commits["compute_s"].to_numpy(float), commits["exchange_s"].to_numpy(float)
    begin = np.cumsum(gap + compute) - compute
    applied = commits["time_s"].to_numpy(float)
    begin += (applied[:-1] - begin[1:]).max(initial=0)
    done = (begin + compute)[:-1]
    served = (applied - commits["server_s"].to_numpy(float))[:-1]
    served = np.clip(served, done, begin[1:])
    return Spans(
        np.column_stack([begin, compute]),
        np.column_stack([done, served - done]),
        np.column_stack([served, begin[1:] - served]),
    )
