"""Shared parts of figures."""

import numpy as np
from matplotlib.figure import Figure

from distopt.metrics.statistics import mean_interval
from distopt.report.figures.style import PAGE
from scripts.tools.runs import Array


def panels(columns: int, width: float = PAGE, height: float = 2.5) -> tuple[Figure, Array]:
    """Return a figure and its panels in a row."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(1, columns))


def errors(values: list[Array]) -> tuple[Array, Array]:
    """Return means and half widths of their 95 % intervals; no bar (NaN) for a single run."""
    intervals = [mean_interval(value) for value in values]
    return np.array([i.value for i in intervals]), np.array([i.high - i.value for i in intervals])
