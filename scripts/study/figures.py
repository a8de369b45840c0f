"""The figures of the study: performance profile, temporal efficiency and accuracy on every workload."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from distopt.metrics.profiles import MAX_RATIO, profile
from distopt.report.figures.style import COLUMN, PAGE, STYLE, color, marker
from scripts.study.outcome import REFERENCE, Outcome
from scripts.study.sizes import CLUSTERS, Size
from scripts.tools.runs import Array

DPI = 120
DARK = 1.3  # sum of red, green and blue, each in [0, 1], below which text is white
NAMED = 8  # coloured lines of the profile


def draw(outcome: Outcome, size: Size, folder: Path) -> list[str]:
    """Draw all figures as PNG and SVG; return their names."""
    if outcome.summary.empty:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        figures = {
            "profile": _profile(outcome, size),
            "efficiency": _map(outcome, size, outcome.efficiency, f"temporal efficiency over {REFERENCE}", around=1.0),
            "accuracy": _map(outcome, size, outcome.accuracy, "final validation accuracy"),
        }
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=DPI)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return list(figures)


def _profile(outcome: Outcome, size: Size) -> Figure:
    """Draw for each optimizer the share of workloads on which it needs at most q times the time of the fastest."""
    figure = Figure(figsize=(COLUMN * 1.5, 3.0), layout="constrained")
    axes = figure.subplots()
    within = np.geomspace(1, MAX_RATIO, 400)
    best = list(outcome.summary["optimizer"][:NAMED])
    for name in reversed(outcome.summary["optimizer"].tolist()):
        i = outcome.optimizers.index(name)
        shares = profile(outcome.ratios[i][:, None], within)[:, 0]
        look = {"color": color(name), "marker": marker(name), "markevery": 60} if name in best else {"color": "0.85"}
        axes.step(within, shares, where="post", label=name if name in best else None, zorder=2 + (name in best), **look)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 1.5, 2, 3, 4], ["1", "1.5", "2", "3", "4"])
    axes.minorticks_off()
    axes.set(xlabel=f"time to {size.target:g} over the fastest one's", ylabel="share of workloads", ylim=(-0.03, 1.03))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper")
    return figure


def _map(outcome: Outcome, size: Size, values: Array, title: str, around: float | None = None) -> Figure:
    """Draw a value of every optimizer on every workload, optimizers with the best score first."""
    order = [outcome.optimizers.index(name) for name in outcome.summary["optimizer"]]
    shown = values[order]
    figure = Figure(figsize=(PAGE, 0.7 + 0.19 * len(order)), layout="constrained")
    axes = figure.subplots()
    known = shown[np.isfinite(shown)]
    low, high = (float(np.quantile(known, q)) for q in (0.02, 1.0)) if known.size else (0.0, 1.0)
    if around is None:
        image = axes.imshow(shown, aspect="auto", cmap="viridis", vmin=low, vmax=high)
    else:
        norm = TwoSlopeNorm(around, min(low, around - 0.01), max(high, around + 0.01))
        image = axes.imshow(shown, aspect="auto", cmap="RdBu", norm=norm)
    for (i, j), value in np.ndenumerate(shown):
        ink = "white" if np.isfinite(value) and sum(image.to_rgba(value)[:3]) < DARK else "black"
        words = f"{value:.2f}" if np.isfinite(value) else "–"
        axes.text(j, i, words, ha="center", va="center", fontsize=6, color=ink)
    axes.set_xticks(range(len(size.workloads)), [str(workers) for _, workers in size.workloads])
    middle = (len(size.workers) - 1) / 2
    groups = axes.secondary_xaxis(-0.35 / len(order))
    groups.set_xticks(
        [middle + i * len(size.workers) for i in range(len(CLUSTERS))], [f"\n{name}" for name in CLUSTERS]
    )
    groups.tick_params(length=0)
    groups.spines["bottom"].set_visible(False)
    axes.set_yticks(range(len(order)), [outcome.optimizers[i] for i in order])
    axes.grid(False)
    axes.set(title=f"{title}; columns: cluster and workers")
    figure.colorbar(image, ax=axes, shrink=0.6)
    return figure
