"""Statistics over repetitions: intervals, success rates and paired comparisons of few runs.

Every interval is a 95 % confidence interval and comes with its estimate. With a single repetition, or a value that is
not finite, the spread cannot be estimated and the ends are NaN: not available, never zero. The bootstrap draws from a
fixed seed, so the same runs give the same interval. With n repetitions the percentile interval of a median cannot be
wider than the sample and so covers 1 - 2^(1 - n) at most: 75 % for 3, 93.75 % for 5.

Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapters 12-13.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]
CONFIDENCE = 0.95
RESAMPLES = 10_000


class Interval(NamedTuple):
    """An estimate with the ends of its confidence interval, in the unit of the values; NaN where not available."""

    value: float
    low: float
    high: float


UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


def mean_interval(values: Sequence[float] | Array, low: float = float("-inf"), high: float = float("inf")) -> Interval:
    """Return the mean x̄ with Student's interval x̄ ± t_{n-1} s / √n, exact for normal values.

    The interval is cut at `low` and `high`, the known bounds of the values and so of their mean.
    """
    x = np.asarray(values, np.float64)
    if not x.size:
        return UNKNOWN
    mean = float(x.mean())
    if x.size < 2 or not np.isfinite(x).all():
        return Interval(mean, float("nan"), float("nan"))
    half = float(half_width(x.std(ddof=1), x.size))
    return Interval(mean, max(mean - half, low), min(mean + half, high))


def half_width(spread: float | Array, n: float | Array) -> Array:
    """Return t_{n-1} s / √n, half of Student's interval for n > 1 values with standard deviation s; elementwise."""
    return np.asarray(special.stdtrit(np.asarray(n) - 1, (1 + CONFIDENCE) / 2) * spread / np.sqrt(n))


def geometric_mean_interval(ratios: Sequence[float] | Array) -> Interval:
    """Return exp(mean(log r)) with Student's interval of the mean of log r, for ratios of paired runs.

    The ends of 1 / r are 1 over those of r. The percentile bootstrap of the same mean would cover 84 % at five pairs.
    With a ratio of 0 or ∞ there is no interval, with NaN no value either.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = mean_interval(np.log(np.asarray(ratios, np.float64)))
    return Interval(*(float(np.exp(end)) for end in logs))


def median_interval(values: Sequence[float] | Array) -> Interval:
    """Return the median with its percentile bootstrap interval; infinite values (target never reached) take part.

    With an even number of values, the median is infinite if the upper middle value is.
    """
    x = np.asarray(values, np.float64)
    if not x.size or np.isnan(x).any():
        return UNKNOWN
    median = float(np.median(x))
    if x.size < 2:
        return Interval(median, float("nan"), float("nan"))
    return Interval(median, *_ends(_medians(x)))


def median_ratio_interval(above: Sequence[float] | Array, below: Sequence[float] | Array) -> Interval:
    """Return median(above) / median(below) of paired costs, with the bootstrap interval over pairs.

    The percentile interval is the same for the ratio and its logarithm. Costs may be infinite. A drawn ratio that is
    undefined (∞ / ∞ or 0 / 0) counts as 0 for the lower end and as ∞ for the upper.

    Args:
        above: costs of the reference, one per pair, shape (n,).
        below: costs of the compared configuration, shape (n,); a larger ratio is better.
    """
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if not a.size or np.isnan(a).any() or np.isnan(b).any():
        return UNKNOWN
    value = float(_divide(np.median(a), np.median(b)))
    if a.size < 2 or np.isnan(value):
        return Interval(value, float("nan"), float("nan"))
    order = np.argsort(a)
    drawn = _divide(_medians(a), np.median(b[order][_draws(a.size)], axis=1))
    low, _ = _ends(np.where(np.isnan(drawn), 0.0, drawn))
    _, high = _ends(np.where(np.isnan(drawn), np.inf, drawn))
    return Interval(value, low, high)


def paired_difference(a: Sequence[float] | Array, b: Sequence[float] | Array) -> tuple[Interval, float]:
    """Return mean(a - b) with Student's interval, and the two-sided p-value of the paired t-test.

    The p-value is not corrected for comparing many configurations. NaN with fewer than two pairs; 1 if all pairs are
    equal.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    interval = mean_interval(difference)
    if np.isnan(interval.low):
        return interval, float("nan")
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    if error == 0:
        return interval, float(interval.value == 0)
    return interval, float(2 * special.stdtr(difference.size - 1, -abs(interval.value) / error))


def _ends(drawn: Array) -> tuple[float, float]:
    """Return the ends of the central 95 % of drawn values, without interpolation, as values may be infinite."""
    outside = round((1 - CONFIDENCE) / 2 * drawn.size)
    ordered = np.partition(drawn, [outside, drawn.size - 1 - outside])
    return float(ordered[outside]), float(ordered[drawn.size - 1 - outside])


def _medians(x: Array) -> Array:
    """Return the median of each resample of the values in ascending order, shape (RESAMPLES,)."""
    ordered, (lower, upper) = np.sort(x), _middle(x.size)
    return np.asarray((ordered[lower] + ordered[upper]) / 2)


@lru_cache(maxsize=16)
def _draws(n: int) -> npt.NDArray[np.intp]:
    """Return the repetitions, of n, that each resample takes, shape (RESAMPLES, n)."""
    return np.random.default_rng(0).integers(n, size=(RESAMPLES, n))


@lru_cache(maxsize=16)
def _middle(n: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the ranks of the two middle values (equal for odd n) of each resample; they depend only on n."""
    ordered = np.sort(_draws(n), axis=1)
    return ordered[:, (n - 1) // 2], ordered[:, n // 2]


def _divide(a: Array | np.floating, b: Array | np.floating) -> Array:
    """Divide costs: 0 where only b is infinite, ∞ where only a is or b is 0, NaN for 0 / 0 and ∞ / ∞."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(a, b))
