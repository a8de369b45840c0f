"""Figures of the grid workers × window."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from distopt.report.figures.style import color, marker
from scripts.predict_thesis import PUBLISHED
from scripts.thesis.grid import WINDOWS, WORKERS, efficiency_surface, surface
from scripts.tools.drawing import errors, panels
from scripts.tools.runs import Array, Runs


def efficiency(runs: Runs) -> Figure | None:
    """Draw temporal efficiency over workers × window, published and measured."""
    ratio = efficiency_surface(runs, "agn", "aeasgd")
    if not len(ratio):
        return None
    published = pd.read_csv(PUBLISHED).pivot(
        index="workers", columns="window", values="temporal_efficiency_agn_over_aeasgd"
    )
    scaled = efficiency_surface(runs, "adag", "agn")
    shown: list[tuple[str, Array, list, list]] = [
        (
            "AGN over AEASGD, published",
            published.to_numpy(),
            published.index.tolist(),
            published.columns.tolist(),
        ),
        ("AGN over AEASGD, here", np.exp(np.log(ratio).mean(axis=0)), list(WORKERS), list(WINDOWS)),
    ]
    if len(scaled):
        shown.append(("ADAG over AGN, here", np.exp(np.log(scaled).mean(axis=0)), list(WORKERS), list(WINDOWS)))
    figure, axes = panels(len(shown), height=2.6)
    for ax, (title, values, workers, windows) in zip(axes, shown, strict=True):
        span = max(np.log(1.05), float(np.abs(np.log(values)).max()))
        ax.imshow(np.log(values), cmap="PuOr_r", vmin=-span, vmax=span, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            strong = abs(np.log(value)) > 0.6 * span
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color="white" if strong else "black")
        ax.set_xticks(range(len(windows)), windows)
        ax.set_yticks(range(len(workers)), workers)
        ax.set(xlabel="window", title=title)
        ax.grid(False)
        ax.tick_params(length=0)
    axes[0].set_ylabel("workers")
    return figure


def accuracy(runs: Runs) -> Figure | None:
    """Draw final accuracies of the center over workers and over windows."""
    if not len(surface(runs, "agn", "train_accuracy")):
        return None
    figure, axes = panels(4, height=2.3)
    for name in ("agn", "aeasgd", "adag"):
        look = {"color": color(name), "marker": marker(name), "label": name, "ms": 3, "lw": 1}
        for row, what in enumerate(("train_accuracy", "validation_accuracy")):
            values = surface(runs, name, what)
            if not len(values):
                continue
            for column, (x, axis) in enumerate(((WORKERS, 2), (WINDOWS, 1))):
                mean, half = errors(list(values.mean(axis=axis).T))
                ax = axes[2 * column + row]
                ax.errorbar(x, mean, half, **look)
                ax.set(xlabel=("workers", "window")[column], title=what.replace("_", " "))
    axes[0].legend()
    axes[0].set_ylabel("mean over the other axis")
    return figure
