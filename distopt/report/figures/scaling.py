"""The scaling figure: time to the target and speed-up over the number of workers."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

from distopt.report.comparison.grid import located, tabulate
from distopt.report.comparison.grouping import Group
from distopt.report.figures.style import PAGE, add_caption, add_legend, color, marker

LEAST = 3  # fewest numbers of workers for a curve


def scaling_figure(group: Group, rows: pd.DataFrame) -> Figure | None:
    """Draw median time to target with its interval, and speed-up, over workers, both on logarithmic scales.

    Each number of workers shows an optimizer's fastest configuration. The speed-up is over its own time at the fewest
    workers with which it reached the target, and starts on the dotted line of linear speed-up. Crosses at the top of
    the left panel are numbers of workers at which the median run does not reach the target. None if no optimizer ran
    with three numbers of workers.
    """
    curves = scaling(group, rows)
    if not curves:
        return None
    figure = Figure(figsize=(PAGE, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    counts = sorted({n for curve in curves.values() for n in curve["workers"]})
    top = left.get_xaxis_transform()
    for i, (optimizer, curve) in enumerate(curves.items()):
        shade, mark = color(optimizer), marker(optimizer)
        known, never = curve[np.isfinite(curve["time"])], curve[np.isinf(curve["time"])]
        bars = np.abs(known[["low", "high"]].to_numpy().T - known["time"].to_numpy())
        bars = np.nan_to_num(bars, nan=0.0, posinf=1e6 * known["time"].max())
        left.errorbar(known["workers"], known["time"], bars, color=shade, marker=mark, capsize=2, label=optimizer)
        left.plot(never["workers"], np.full(len(never), 0.97 - 0.05 * i), "x", color=shade, transform=top)
        right.plot(known["workers"], known["speedup"], color=shade, marker=mark)
    ideal = [counts[0], counts[-1]]
    right.plot(ideal, np.array(ideal) / counts[0], ":", color="0.4", linewidth=0.9, label="linear")
    right.set_yscale("log", base=2)
    left.set_yscale("log")
    times = np.concatenate([curve["time"] for curve in curves.values()])
    times = times[np.isfinite(times)]
    if times.size:  # infinite ends of intervals must not set the range
        left.set_ylim(times.min() / 1.4, times.max() * 2)
    target = f"{rows['metric'].iloc[0]} {rows['target'].iloc[0]:.3g}"
    left.set(ylabel="time to target (s)", title=f"target: {target}")
    right.set(ylabel=f"speed-up over {counts[0]:g} workers")
    for axes in (left, right):
        _workers(axes, counts)
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.yaxis.set_minor_formatter(NullFormatter())
    right.legend()
    add_legend(figure, left.get_legend_handles_labels()[0])
    add_caption(figure, group.configurations, "bars: 95 % intervals; ×: not reached by the median run")
    return figure


def scaling(group: Group, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return `workers`, `time` with `low` and `high`, and `speedup` of each optimizer with `LEAST` worker counts."""
    placed = located(group, rows).dropna(subset=["workers"])
    placed = placed[placed["time_to_target_s"] > 0]  # reached before the first update: no scaling
    found = {}
    for optimizer, own in placed.groupby("optimizer"):
        best = own.loc[own.groupby("workers")["time_to_target_s"].idxmin()].sort_values("workers")
        if len(best) < LEAST:
            continue
        curve = pd.DataFrame(
            {
                "workers": best["workers"].to_numpy(),
                "time": best["time_to_target_s"].to_numpy(),
                "low": best["time_to_target_s_low"].to_numpy(),
                "high": best["time_to_target_s_high"].to_numpy(),
            }
        )
        reached = curve[np.isfinite(curve["time"])]
        first = reached.iloc[0] if len(reached) else curve.iloc[0]
        linear = first["workers"] / placed["workers"].min()
        found[str(optimizer)] = curve.assign(speedup=linear * first["time"] / curve["time"])
    return found


def _workers(axes: Axes, counts: list[float]) -> None:
    """Set a logarithmic axis with ticks at the numbers of workers, as far as their labels do not touch."""
    axes.set_xscale("log", base=2)
    apart = [counts[0], *(b for a, b in pairwise(counts) if b / a >= (counts[-1] / counts[0]) ** 0.06)]
    axes.xaxis.set_major_locator(FixedLocator(apart))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tabulate([value])[0]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("workers")
