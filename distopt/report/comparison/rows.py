"""The row of a configuration in the comparison: its own numbers, and those paired with a reference.

Repetitions of one seed, which differ only on the wall clock, enter every number and interval as their mean.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from distopt.metrics import convergence, efficiency, statistics
from distopt.metrics.convergence import Curve
from distopt.metrics.statistics import Interval
from distopt.records import Metric
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
    metric: Metric
    split: str
    curves: tuple[Curve, ...]
    updates: tuple[Curve, ...]

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
        """Each seed's last value, over the runs that `concluded`."""
        return self.by_seed({i: float(self.curves[i].y[-1]) for i in self.concluded})

    @property
    def bests(self) -> dict[int, float]:
        """Each seed's best value, over the runs that `concluded`."""
        return self.by_seed({i: convergence.best(self.curves[i].y, self.metric.better) for i in self.concluded})

    def costs(self, target: float, curves: Sequence[Curve]) -> dict[int, float]:
        """Return each seed's cost to reach the target: infinite if one of its runs never does, NaN without a target."""
        return self.by_seed(dict(enumerate(self._costs(target, curves))))

    def reached(self, target: float) -> float:
        """Return the share of runs that reach the target, the mean over seeds of each seed's share."""
        if np.isnan(target):
            return float("nan")
        finite = np.isfinite(self._costs(target, self.curves)).astype(float)
        return float(np.mean([*self.by_seed(dict(enumerate(finite))).values()]))

    def by_seed(self, values: Mapping[int, float]) -> dict[int, float]:
        """Return the mean over each seed's repetitions of values of runs, which are given by position."""
        return seed_means([run.seed for run in self.configuration.runs], values)

    def _costs(self, target: float, curves: Sequence[Curve]) -> list[float]:
        if np.isnan(target):
            return [float("nan")] * len(curves)
        return [convergence.to_target(curve, target, self.metric.better) for curve in curves]


def seed_means(seeds: Sequence[int], values: Mapping[int, float]) -> dict[int, float]:
    """Return the mean of the values of each seed, of values given by their position in `seeds`."""
    found: dict[int, list[float]] = {}
    for i, value in values.items():
        found.setdefault(seeds[i], []).append(value)
    return {seed: float(np.mean(some)) for seed, some in found.items()}


def measure(configuration: Configuration, metric: Metric, split: str) -> Measured:
    """Return a configuration with the curves of its runs."""
    curves, updates = zip(
        *[
            [convergence.curve(run.evals, metric.name, split, axis) for axis in ("time", "updates")]
            for run in configuration.runs
        ],
        strict=True,
    )
    return Measured(configuration, metric, split, curves, updates)


def row(measured: Measured, target: float) -> dict[str, Any]:
    """Return a configuration's own columns: status, final and best value, time and updates to the target."""
    configuration, finals = measured.configuration, np.array([*measured.finals.values()])
    times, updates = (measured.costs(target, curves) for curves in (measured.curves, measured.updates))
    return {
        "configuration": configuration.label,
        "seeds": len(configuration.seeds),
        "runs": len(configuration.runs),
        "status": configuration.status,
        "metric": f"{measured.split} {measured.metric.name}",
        "better": measured.metric.better,
        **columns("final", statistics.mean_interval(finals)),
        "final_std": finals.std(ddof=1) if finals.size > 1 else np.nan,
        **columns("best", statistics.mean_interval([*measured.bests.values()])),
        "target": target,
        **columns("time_to_target_s", statistics.median_interval([*times.values()])),
        "success_rate": measured.reached(target),
        "updates_to_target": statistics.median_interval([*updates.values()]).value,
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


def _cost_ratio(measured: Measured, base: Measured, costs: Sequence[Mapping[int, float]]) -> Interval:
    """Return the ratio of median costs over common seeds; without common seeds over all, without an interval."""
    own, reference = costs
    if common := [seed for seed in own if seed in reference]:
        return statistics.median_ratio_interval([reference[s] for s in common], [own[s] for s in common])
    value = efficiency.ratio(float(np.median([*reference.values()])), float(np.median([*own.values()])))
    return statistics.UNKNOWN._replace(value=value)


def _area_ratio(measured: Measured, base: Measured) -> Interval:
    """Return temporal efficiency, second definition, over finished runs; see `efficiency.matrix`."""
    curves, seeds = [], []
    for one in (measured, base):
        ended = [(run.seed, c) for run, c in zip(one.configuration.runs, one.curves, strict=True) if run.finished]
        seeds.append([seed for seed, _ in ended])
        curves.append([curve for _, curve in ended])
    return Interval(*efficiency.matrix(curves, seeds, measured.metric.better)[:, 0, 1].tolist())


def _difference(measured: Measured, base: Measured) -> tuple[Interval, float]:
    if measured is base:
        return statistics.UNKNOWN, float("nan")
    own, reference = measured.finals, base.finals
    common = [seed for seed in own if seed in reference]
    return statistics.paired_difference([own[s] for s in common], [reference[s] for s in common])
