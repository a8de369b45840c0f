"""Convergence: a metric of the center as a curve, the point where it reaches a target, and its spread over seeds.

All functions work on the frame `evals` (one row per evaluation of the center). So they compare the center on fixed
data, never a worker's own parameters on its own mini-batch.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from distopt.errors import ResultsError
from distopt.records import Better

Array = npt.NDArray[np.float64]
Axis = Literal["time", "updates", "samples", "bytes", "epochs"]
SPLITS = ("validation", "train")
AXES: tuple[Axis, ...] = ("time", "updates", "samples", "bytes", "epochs")


class Curve(NamedTuple):
    """A metric y over x: two arrays of shape (evaluations,), x not decreasing."""

    x: Array
    y: Array


class Band(NamedTuple):
    """Several curves on one grid: mean, smallest and largest value at each x, all of shape (points,)."""

    x: Array
    mean: Array
    low: Array
    high: Array


def curve(
    evals: pd.DataFrame,
    metric: str = "accuracy",
    split: str = "validation",
    x: Axis = "time",
    *,
    commits: pd.DataFrame | None = None,
    train_samples: int | None = None,
) -> Curve:
    """Return `metric` of the center on `split` over `x`.

    Units of x: time in seconds on the run's clock; updates; samples drawn by all workers together; epochs, which is
    samples / `train_samples`; bytes sent up and down by all commits applied so far (needs `commits`). NaN values (the
    model has no such metric, or the run diverged) are left out; infinite ones are kept. A run that was never evaluated
    has an empty curve.
    """
    if metric not in evals:
        return Curve(np.empty(0), np.empty(0))
    y = evals[metric].to_numpy(np.float64)
    kept = (evals["split"].to_numpy() == split) & ~np.isnan(y)
    return Curve(_abscissa(evals, x, commits, train_samples)[kept], y[kept])


def _abscissa(evals: pd.DataFrame, x: Axis, commits: pd.DataFrame | None, train_samples: int | None) -> Array:
    if x == "bytes":
        if commits is None:
            raise ResultsError("x=bytes: needs the commits of the run")
        sent = np.append(0.0, (commits["bytes_up"] + commits["bytes_down"]).to_numpy(np.float64).cumsum())
        return sent[np.searchsorted(commits["update"].to_numpy(), evals["update"].to_numpy(), side="right")]
    if x == "epochs":
        if not train_samples:
            raise ResultsError("x=epochs: run.json has no train_samples; take x=samples")
        return evals["samples"].to_numpy(np.float64) / train_samples
    columns = {"time": "time_s", "updates": "update", "samples": "samples"}
    if x not in columns:
        raise ResultsError(f"x={x}: no such axis; there are {', '.join(AXES)}")
    return evals[columns[x]].to_numpy(np.float64)


def reached(y: Array, target: float, better: Better = "higher") -> npt.NDArray[np.bool_]:
    """Tell where `y` is at least as good as `target`: not below it, or where lower is better not above it."""
    return y <= target if better == "lower" else y >= target


def best(y: Array, better: Better = "higher") -> float:
    """Return the best finite value of a curve: the largest, or where lower is better the smallest; NaN if none is."""
    finite = y[np.isfinite(y)]
    if not finite.size:
        return float("nan")
    return float(finite.min() if better == "lower" else finite.max())


def to_target(curve: Curve, target: float, better: Better = "higher", *, interpolate: bool = False) -> float:
    """Return the x at which `curve` first reaches `target`, and infinity if it never does.

    Without interpolation this is the x of the first evaluation that is as good as the target, late by at most one
    evaluation interval. With interpolation it is the crossing on the straight line from the evaluation before.
    """
    hits = np.flatnonzero(reached(curve.y, target, better))
    if not hits.size:
        return float("inf")
    i = int(hits[0])
    if not interpolate or i == 0 or not np.isfinite(curve.y[i - 1]):
        return float(curve.x[i])
    share = (target - curve.y[i - 1]) / (curve.y[i] - curve.y[i - 1])
    return float(curve.x[i - 1] + share * (curve.x[i] - curve.x[i - 1]))


def area(curve: Curve, until: Array, offset: float = 0.0) -> Array:
    """Return the integral of y - offset over [0, M] for each M of `until`, in units of y times units of x.

    By the trapezoidal rule, the curve linear between evaluations and constant outside them. NaN for an empty curve.
    """
    if not curve.x.size:
        return np.full(until.shape, np.nan)
    x = np.append(0.0, curve.x)
    y = np.append(curve.y[0], curve.y) - offset
    whole = np.append(0.0, np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2))
    left = np.searchsorted(x, until, side="right") - 1
    return whole[left] + (until - x[left]) * (y[left] + np.interp(until, x, y)) / 2


def aggregate(curves: Sequence[Curve], seeds: Sequence[int]) -> Band:
    """Return mean and range of several curves, linearly interpolated on the x of the most finely evaluated one.

    The band ends where the shortest curve ends, so that every point is over all curves. The mean is over seeds: the
    repetitions of a seed share its weight.
    """
    kept = [seed for seed, c in zip(seeds, curves, strict=True) if c.x.size]
    weights = np.array([1 / kept.count(seed) for seed in kept])
    curves = [c for c in curves if c.x.size]
    if not curves:
        nothing = np.empty(0)
        return Band(nothing, nothing, nothing, nothing)
    end = min(c.x[-1] for c in curves)
    finest = max(curves, key=lambda c: c.x.size).x
    grid = np.unique(np.append(finest[finest < end], end))
    values = np.stack([np.interp(grid, c.x, c.y) for c in curves])
    with np.errstate(invalid="ignore"):  # of infinities of both signs
        mean = np.average(values, axis=0, weights=weights) if (weights != 1).any() else values.mean(axis=0)
        return Band(grid, mean, values.min(axis=0), values.max(axis=0))
