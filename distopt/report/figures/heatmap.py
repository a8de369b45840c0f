"""Heat maps: temporal efficiency of all pairs, and a metric over (workers, window), with differences of optimizers."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from distopt.report.comparison.grid import over_grid, tabulate
from distopt.report.comparison.grouping import Configuration, Group
from distopt.report.figures.style import COLUMN, PAGE, add_caption

Array = npt.NDArray[np.float64]


def efficiency_figure(configurations: Sequence[Configuration], matrix: Array, metric: str) -> Figure:
    """Draw TE(row, column), an array of shape (m, m): above 1 the row is ahead of the column on average over time.

    Colours are symmetric in log TE, so that TE and 1 / TE are equally strong; the scale spans at least 0.95 to 1.05.
    """
    labels = [configuration.label for configuration in configurations]
    m, longest = len(labels), max(map(len, labels))
    side = min(PAGE, max(COLUMN, 0.45 * m + 0.06 * longest + 0.9))
    figure = Figure(figsize=(side, side * 0.85 + 0.3), layout="constrained")
    axes = figure.subplots()
    logs = np.log2(np.where(matrix > 0, matrix, np.nan))
    span = _span(logs, at_least=float(np.log2(1.05)))
    image = _draw(axes, logs, labels, labels, lambda value: f"{2**value:.2f}", (-span, span))
    axes.set_xticklabels(labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set(ylabel="efficiency of", xlabel="over")
    figure.suptitle(f"temporal efficiency ({metric})", fontsize=9)
    _bar(figure, image, [axes], lambda value: f"{2**value:.2f}")
    add_caption(figure, configurations)
    return figure


def grid_figure(group: Group, rows: pd.DataFrame) -> Figure | None:
    """Draw the final metric of each optimizer over (workers, window), each cell the best of its other settings.

    None if no optimizer has two numbers of workers and two windows.
    """
    tables = over_grid(group, rows)
    if not tables:
        return None
    every = np.concatenate([table.to_numpy().ravel() for table in tables.values()])
    limits = (float(np.nanmin(every)), float(np.nanmax(every))) if np.isfinite(every).any() else (0.0, 1.0)
    figure, panels = _panels(len(tables), next(iter(tables.values())).shape)
    for axes, (optimizer, table) in zip(panels, tables.items(), strict=True):
        image = _draw(axes, table.to_numpy(), *_labels(table), "{:.3f}".format, limits, "YlGnBu")
        axes.set_title(optimizer, loc="left")
    _bar(figure, image, panels, "{:.3g}".format)
    figure.suptitle(f"final {rows['metric'].iloc[0]}, mean over runs", fontsize=9)
    add_caption(figure, group.configurations)
    return figure


def difference_figure(group: Group, rows: pd.DataFrame) -> Figure | None:
    """Draw the final metric of each optimizer minus that of the reference over (workers, window).

    Orange where the optimizer is ahead, purple where the reference is. The reference is that of the comparison if it
    has such a grid, else the first optimizer. None if fewer than two optimizers have a grid.
    """
    tables = over_grid(group, rows)
    labels = {c.label: c.optimizer for c in group.configurations}
    named = [labels[label] for label in rows["reference"].dropna() if labels[label] in tables]
    if len(tables) < 2:
        return None
    base = named[0] if named else next(iter(tables))
    others = {name: table - tables[base] for name, table in tables.items() if name != base}
    figure, panels = _panels(len(others), tables[base].shape)
    colors = "PuOr" if rows["better"].iloc[0] == "lower" else "PuOr_r"
    span = _span(np.concatenate([table.to_numpy().ravel() for table in others.values()]), at_least=1e-3)
    for axes, (optimizer, table) in zip(panels, others.items(), strict=True):
        image = _draw(axes, table.to_numpy(), *_labels(table), "{:+.3f}".format, (-span, span), colors)
        axes.set_title(f"{optimizer} − {base}", loc="left")
    _bar(figure, image, panels, "{:+.2g}".format)
    figure.suptitle(f"difference of final {rows['metric'].iloc[0]}", fontsize=9)
    add_caption(figure, group.configurations)
    return figure


def _draw(
    axes: Axes,
    values: Array,
    across: Sequence[str],
    down: Sequence[str],
    text: Callable[[float], str],
    limits: tuple[float, float],
    colors: str = "PuOr_r",
) -> AxesImage:
    """Draw values of shape (down, across) between limits, with their texts if there is room."""
    low, high = limits
    image = axes.imshow(values, cmap=colors, vmin=low, vmax=high, aspect="auto")
    if max(values.shape) <= 14:
        for (i, j), value in np.ndenumerate(values):
            red, green, blue, _ = image.to_rgba(np.asarray(value))
            shade = "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
            shown = text(value) if np.isfinite(value) else "–"
            axes.text(j, i, shown, ha="center", va="center", fontsize=6 if max(values.shape) > 6 else 7, color=shade)
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(False)
    return image


def _panels(count: int, shape: tuple[int, int]) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels of shape (workers, windows), side by side, at most three in a row."""
    columns = min(3, count)
    rows = -(-count // columns)
    width = COLUMN if count == 1 else PAGE
    figure = Figure(figsize=(width, 0.8 + rows * (0.55 + 0.24 * max(4, shape[0]))), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.ravel()[count:]:
        axes.remove()
    for axes in grid[:, 0]:
        axes.set_ylabel("workers")
    for axes in grid.ravel()[max(0, count - columns) : count]:
        axes.set_xlabel("window (local steps)")
        axes.xaxis.set_tick_params(labelbottom=True)
    return figure, list(grid.ravel()[:count])


def _labels(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    return tabulate(table.columns), tabulate(table.index)


def _span(values: Array, at_least: float) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return max(at_least, float(finite.max()) if finite.size else 0.0)


def _bar(figure: Figure, image: AxesImage, panels: Sequence[Axes], text: Callable[[float], str]) -> None:
    ticks = np.linspace(*image.get_clim(), 5)
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8, ticks=ticks)
    bar.ax.set_yticklabels([text(tick) for tick in ticks])
    bar.outline.set_visible(False)
