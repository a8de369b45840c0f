"""The row of a configuration in the comparison: its own numbers, and those paired with a reference."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distopt.metrics import convergence, efficiency, statistics
from distopt.metrics.convergence import Curve
from distopt.metrics.statistics import Interval
from distopt.report.comparison.grouping import Configuration
from distopt.report.comparison.momentum import measured as measured_momentum

Array = npt.NDArray[np.float64]
SUMMED = (
    *("updates", "samples_per_s", "staleness_mean", "server_busy", "worker_wait", "refused_share"),
    *("bytes_up", "bytes_down"),
)
BROKEN_OFF = ("failed", "interrupted", "running")


class Measured(NamedTuple):
    """A configuration on one metric: the curves of its runs over time, and over updates at the same evaluations."""

    configuration: Configuration
    metric: str
    split: str
    curves: tuple[Curve, ...]
    updates: tuple[Curve, ...]

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [run.seed for run in self.configuration.runs]

    @property
    def concluded(self) -> list[int]:
        """Positions of the runs whose end says something about the optimizer; if there is none, of all evaluated runs.

        A run that diverged counts with its last value; a run that broke off for another reason does not.
        """
        known = [i for i, curve in enumerate(self.curves) if curve.y.size]
        runs = self.configuration.runs
        return [i for i in known if runs[i].status not in BROKEN_OFF] or known

    @property
    def finals(self) -> dict[int, float]:
        """The last value of each run that `concluded`, by its position."""
        return {i: float(self.curves[i].y[-1]) for i in self.concluded}

    def bests(self) -> list[float]:
        """The best value of each run that `concluded`."""
        return [convergence.best(self.curves[i].y, self.metric) for i in self.concluded]

    def costs(self, target: float, curves: Sequence[Curve]) -> Array:
        """Return each run's cost to reach the target: infinite if it never does, NaN without a target."""
        if np.isnan(target):
            return np.full(len(curves), np.nan)
        return np.array([convergence.to_target(curve, target, self.metric) for curve in curves])


def measure(configuration: Configuration, metric: str, split: str) -> Measured:
    """Return a configuration with the curves of its runs."""
    curves, updates = zip(
        *[
            [convergence.curve(run.evals, metric, split, axis) for axis in ("time", "updates")]
            for run in configuration.runs
        ],
        strict=True,
    )
    return Measured(configuration, metric, split, curves, updates)


def row(measured: Measured, target: float) -> dict[str, Any]:
    """Return a configuration's own columns: status, final and best value, time and updates to the target."""
    configuration, finals = measured.configuration, np.array(list(measured.finals.values()))
    times = measured.costs(target, measured.curves)
    return {
        "configuration": configuration.label,
        "seeds": len(configuration.runs),
        "status": configuration.status,
        "metric": f"{measured.split} {measured.metric}",
        **columns("final", statistics.mean_interval(finals)),
        "final_std": finals.std(ddof=1) if finals.size > 1 else np.nan,
        **columns("best", statistics.mean_interval(measured.bests())),
        "target": target,
        **columns("time_to_target_s", statistics.median_interval(times)),
        "success_rate": statistics.success_rate(times),
        "updates_to_target": statistics.median_interval(measured.costs(target, measured.updates)).value,
        **columns("implicit_momentum", measured_momentum(configuration).momentum),
    }


def against(measured: Measured, base: Measured, target: float) -> dict[str, Any]:
    """Return a configuration's columns relative to a reference, over runs paired by seed."""
    times, updates = (
        _cost_ratio(measured, base, [one.costs(target, curves(one)) for one in (measured, base)])
        for curves in (attrgetter("curves"), attrgetter("updates"))
    )
    difference, p_value = _difference(measured, base)
    return {
        "reference": base.configuration.label,
        **columns("te_target", times),
        **columns("te_area", _area_ratio(measured, base)),
        **columns("difference", difference),
        "p_value": p_value,
        **columns("se_target", updates),
    }


def columns(name: str, interval: Interval) -> dict[str, float]:
    """Return an interval as the columns `name`, `name_low` and `name_high`."""
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _cost_ratio(measured: Measured, base: Measured, costs: Sequence[Array]) -> Interval:
    """Return the ratio of median costs over common seeds; without common seeds over all runs, without an interval."""
    own, reference = costs
    if common := efficiency.common(measured.seeds, base.seeds):
        mine, theirs = np.array(common).T
        return statistics.median_ratio_interval(reference[theirs], own[mine])
    value = efficiency.ratio(float(np.median(reference)), float(np.median(own)))
    return statistics.UNKNOWN._replace(value=value)


def _area_ratio(measured: Measured, base: Measured) -> Interval:
    """Return temporal efficiency, second definition: the geometric mean over pairs of finished runs."""
    own, reference = [
        [(run.seed, curve) for run, curve in zip(one.configuration.runs, one.curves, strict=True) if run.finished]
        for one in (measured, base)
    ]
    seeds = [[seed for seed, _ in runs] for runs in (own, reference)]
    ratios = [
        efficiency.temporal_efficiency(own[i][1], reference[j][1], measured.metric) for i, j in efficiency.pairs(*seeds)
    ]
    interval = statistics.geometric_mean_interval(ratios)
    return interval if efficiency.common(*seeds) else statistics.UNKNOWN._replace(value=interval.value)


def _difference(measured: Measured, base: Measured) -> tuple[Interval, float]:
    own, reference = measured.finals, base.finals
    common = [(i, j) for i, j in efficiency.common(measured.seeds, base.seeds) if i in own and j in reference]
    if measured is base:
        return statistics.UNKNOWN, float("nan")
    return statistics.paired_difference([own[i] for i, _ in common], [reference[j] for _, j in common])
