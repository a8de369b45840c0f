"""Efficiency: temporal, statistical and hardware efficiency of distributed optimizers.

Ratios are always "a over b, larger means a is better"; E(a, a) = 1 and E(a, b) E(b, a) = 1.
Source: J. Hermans, On Scalable Deep Learning and Parallelizing Gradient Descent, 2017, eq. 1.4 and 3.4.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from distopt.metrics.convergence import Curve, area
from distopt.metrics.statistics import half_width
from distopt.records import Better

Array = npt.NDArray[np.float64]

Integrand = Literal["metric", "above_chance"]


def ratio(b: float, a: float) -> float:
    """Return b / a of two costs in [0, ∞]; NaN for 0 / 0 and ∞ / ∞."""
    if np.isnan(a) or np.isnan(b) or (a == b and (a == 0 or np.isinf(a))):
        return float("nan")
    return float("inf") if a == 0 else b / a


def temporal_efficiency(
    a: Curve, b: Curve, better: Better = "higher", *, integrand: Integrand = "metric", classes: int | None = None
) -> float:
    """Return temporal efficiency by the second definition: the ratio of the areas under two curves over time.

        TE(a, b) = ∫₀ᴹ f_a dt / ∫₀ᴹ f_b dt,   M = min(T_a, T_b)

    T is the time of a curve's last evaluation. The integrand f is the metric itself, or with `above_chance`, of an
    accuracy, less 1 / `classes`, which does not press ratios towards 1. Where lower is better, as for the loss,
    numerator and denominator change places. NaN where an area is not positive, as for a run that stays below chance.
    """
    return float(_efficiencies([a, b], better, integrand, classes)[0, 1])


def _efficiencies(curves: Sequence[Curve], better: Better, integrand: Integrand, classes: int | None) -> Array:
    """Return TE of each curve over each other, shape (m, m): one vectorized pass per curve, for sweeps of many runs."""
    offset = 0.0
    if integrand == "above_chance":
        if better != "higher" or not classes:
            raise ValueError("integrand=above_chance: needs an accuracy and the number of classes")
        offset = 1.0 / classes
    ends = np.array([curve.x[-1] if curve.x.size else 0.0 for curve in curves])
    areas = np.array([area(c, np.minimum(end, ends), offset) for c, end in zip(curves, ends, strict=True)])
    areas = np.where((areas > 0) & np.isfinite(areas), areas, np.nan)
    return areas.T / areas if better == "lower" else areas / areas.T


def matrix(
    curves: Sequence[Sequence[Curve]],
    seeds: Sequence[Sequence[int]],
    better: Better = "higher",
    *,
    integrand: Integrand = "metric",
    classes: int | None = None,
) -> Array:
    """Return TE(row, column), second definition, for configurations given as their curves and seeds, with its interval.

    The value is the geometric mean over common seeds of the geometric mean over the pairs of a seed's repetitions, and
    the interval, over seeds, is that of `statistics.geometric_mean_interval`. Without a common seed the value is the
    mean over all pairs of runs, and the ends of the interval are NaN. Value, low and high are stacked: shape (3, m, m).
    """
    flat = [curve for repeated in curves for curve in repeated]
    size, first = len(curves), np.cumsum([0, *map(len, curves)])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(_efficiencies(flat, better, integrand, classes)) if flat else np.empty((0, 0))
    total, squares, count = np.zeros((3, size, size))
    runs: dict[int, list[tuple[int, int]]] = {}
    for i, own in enumerate(seeds):
        for k, seed in enumerate(own):
            runs.setdefault(seed, []).append((i, int(first[i]) + k))
    for found in runs.values():  # one vectorized pass per seed: a sweep has few seeds and many configurations
        owners, positions = np.array(found).T
        rows, starts, repeated = np.unique(owners, return_index=True, return_counts=True)
        sums = np.add.reduceat(np.add.reduceat(logs[np.ix_(positions, positions)], starts, 0), starts, 1)
        paired, among = np.ix_(rows, rows), sums / np.outer(repeated, repeated)
        total[paired] += among
        squares[paired] += among**2
        count[paired] += 1
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
        spread = np.sqrt(np.maximum(0.0, squares - count * mean**2) / (count - 1))
        half = np.where(count > 1, half_width(spread, count), np.nan)
        for i, j in zip(*np.nonzero(count == 0), strict=True):
            block = logs[first[i] : first[i + 1], first[j] : first[j + 1]]
            mean[i, j] = block.mean() if block.size else np.nan
        return np.exp(np.stack([mean, mean - half, mean + half]))


def hardware(commits: pd.DataFrame, time_s: float, train_samples: int | None = None) -> dict[str, float]:
    """Return what the machines did in `time_s` seconds of training; NaN where it is unknown.

    `samples_per_s` and `updates_per_s`; `epoch_s`, seconds per pass over the training data; `server_busy`, the share
    of the time in which the server worked on commits; `worker_busy` and `worker_wait`, the shares of the workers'
    own time spent in local steps and between two windows (transfer, queue, server, barrier), which add up to 1.
    """
    samples = float(commits["samples"].sum())
    updates = float(commits["update"].max()) if len(commits) else 0.0
    busy, wait, served = (_total(commits, name) for name in ("compute_s", "exchange_s", "server_s"))
    return {
        "samples_per_s": _ratio(samples, time_s),
        "updates_per_s": _ratio(updates, time_s),
        "epoch_s": _ratio(time_s * (train_samples or float("nan")), samples),
        "server_busy": _ratio(served, time_s),
        "worker_busy": _ratio(busy, busy + wait),
        "worker_wait": _ratio(wait, busy + wait),
    }


def _total(commits: pd.DataFrame, column: str) -> float:
    return float(commits[column].sum()) if column in commits and len(commits) else float("nan")


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")
