"""The temporal-efficiency matrix as an annotated heat map, diverging around 1."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from distopt.report.grouping import Configuration
from distopt.report.style import COLUMN, PAGE, add_caption


def efficiency_figure(configurations: Sequence[Configuration], matrix: np.ndarray, metric: str) -> Figure:
    """Draw TE(row, column), an array of shape (m, m): above 1 the row is ahead of the column on average over time.

    Colours are symmetric in log TE, so that TE and 1 / TE are equally strong; the scale spans at least 0.95 to 1.05.
    """
    labels = [configuration.label for configuration in configurations]
    m, longest = len(labels), max(map(len, labels))
    side = min(PAGE, max(COLUMN, 0.45 * m + 0.06 * longest + 0.9))
    figure = Figure(figsize=(side, side * 0.85 + 0.3), layout="constrained")
    axes = figure.subplots()
    logs = np.log2(np.where(matrix > 0, matrix, np.nan))
    finite = np.abs(logs[np.isfinite(logs)])
    span = max(np.log2(1.05), float(finite.max()) if finite.size else 0.0)
    image = axes.imshow(logs, cmap="PuOr_r", vmin=-span, vmax=span)
    for (i, j), value in np.ndenumerate(matrix):
        strong = np.isfinite(logs[i, j]) and abs(logs[i, j]) > 0.6 * span
        text = f"{value:.2f}" if np.isfinite(value) else "–"
        if m <= 14:
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if strong else "black")
    axes.set_xticks(range(m), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(m), labels)
    axes.set(ylabel="efficiency of", xlabel="over")
    figure.suptitle(f"temporal efficiency ({metric})", fontsize=9)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(False)
    ticks = np.array([-span, -span / 2, 0, span / 2, span])
    bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=ticks)
    bar.ax.set_yticklabels([f"{2**tick:.2f}" for tick in ticks])
    bar.outline.set_visible(False)
    add_caption(figure, configurations)
    return figure
