"""The figure of implicit momentum over the number of workers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from distopt.report.comparison.grouping import Configuration, Group
from distopt.report.figures.style import COLUMN, Color, add_caption, add_legend, appearance


def momentum_figure(group: Group, rows: pd.DataFrame) -> Figure | None:
    """Draw measured implicit momentum with its interval over workers, and 1 − 1/n; None if it was not measured."""
    shown = rows["implicit_momentum"].notna().to_numpy()
    if not shown.any():
        return None
    chosen = [configuration for configuration, known in zip(group.configurations, shown, strict=True) if known]
    figure = Figure(figsize=(COLUMN, 2.7), layout="constrained")
    axes = figure.subplots()
    counts = np.array([configuration.runs[0].config["workers"] for configuration in chosen])
    values = rows.loc[shown, ["implicit_momentum", "implicit_momentum_low", "implicit_momentum_high"]].to_numpy(float)
    for (members, label), (_, shade, mark) in zip(*_by_variant(chosen), strict=True):
        value, low, high = values[members].T
        bars = np.nan_to_num([value - low, high - value], nan=0.0)
        axes.errorbar(counts[members], value, bars, color=shade, marker=mark, capsize=2, linestyle="", label=label)
    grid = np.geomspace(1, 1.3 * counts.max(), 100)
    axes.plot(grid, 1 - 1 / grid, ":", color="0.4", linewidth=0.9, label="1 − 1/n: exponential step times, window 1")
    axes.set(xlabel="workers n", ylabel="implicit momentum", xscale="log")
    axes.set_xticks(sorted(set(counts)), [f"{count}" for count in sorted(set(counts))])
    axes.minorticks_off()
    add_legend(figure, axes.get_legend_handles_labels()[0])
    add_caption(figure, chosen, "bars: 95 % intervals")
    return figure


def _by_variant(
    chosen: Sequence[Configuration],
) -> tuple[list[tuple[list[int], str]], list[tuple[Configuration, Color, str]]]:
    """Group configurations that differ only in their number of workers, with a label and a look for each group."""
    variants: dict[str, list[int]] = {}
    for i, configuration in enumerate(chosen):
        words = [word for word in configuration.label.split() if not word.startswith("workers=")]
        variants.setdefault(" ".join(words), []).append(i)
    looks = appearance([chosen[members[0]] for members in variants.values()])
    return [(members, label) for label, members in variants.items()], list(looks)
