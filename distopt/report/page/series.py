"""The curves of a page: the band of each configuration over each axis, thinned to the resolution of a screen."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distopt.metrics import convergence
from distopt.metrics.convergence import Array, Axis, Curve
from distopt.report.comparison.grouping import Group
from distopt.report.figures.curves import run_curve
from distopt.runs.results import Run

NUMBERS = 700_000  # of all curves of a page together, about 7 bytes each
MOST, LEAST = 300, 24  # points of one curve
Series = dict[str, dict[str, dict[str, int]]]


class Curves:
    """The curves of a page, as positions in `arrays`; equal arrays are stored once."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.arrays: list[list[float | None]] = []
        self._places: dict[bytes, int] = {}
        configurations = [configuration for group in groups for configuration in group.configurations]
        drawn = [len(c.finished) for c in configurations] + [1 for g in groups for run in g.runs if not run.finished]
        self._limit = points_per_curve(single=drawn.count(1), bands=sum(count > 1 for count in drawn))

    def over_axes(self, runs: Sequence[Run]) -> Series:
        """Return the band over runs as `{SPLIT METRIC: {axis: {x, y, low, high}}}`, without empty entries.

        y is the mean; low and high are the ends of the band, absent for a single run.
        """
        found: Series = {}
        for metric in dict.fromkeys(each.name for run in runs for each in run.metrics):
            for split in convergence.SPLITS:
                bands: dict[str, dict[str, int]] = {
                    axis: self._band(runs, metric, split, axis) for axis in convergence.AXES
                }
                if kept := {axis: band for axis, band in bands.items() if band}:
                    found[f"{split} {metric}"] = kept
        return found

    def _band(self, runs: Sequence[Run], metric: str, split: str, axis: Axis) -> dict[str, int]:
        band = convergence.aggregate([_curve(run, metric, split, axis) for run in runs], [r.seed for r in runs])
        if not band.x.size:
            return {}
        kept = thin(band.mean, self._limit)
        names = {"x": band.x, "y": band.mean} | ({"low": band.low, "high": band.high} if len(runs) > 1 else {})
        return {name: self._place(values[kept]) for name, values in names.items()}

    def _place(self, values: Array) -> int:
        place = self._places.setdefault(values.tobytes(), len(self.arrays))
        if place == len(self.arrays):
            self.arrays.append([number(value) for value in values.tolist()])
        return place


def points_per_curve(single: int, bands: int) -> int:
    """Return the most points per curve that keep a page small enough to send and draw.

    Per split and metric a band has four arrays for each axis; a single run has an x for each axis and one y.
    """
    axes, metrics = len(convergence.AXES), len(convergence.SPLITS) * 2  # most runs have two metrics
    arrays = metrics * (single * (axes + 1) + bands * axes * 4)
    return int(np.clip(NUMBERS // max(1, arrays), LEAST, MOST))


def thin(y: Array, limit: int) -> npt.NDArray[np.intp]:
    """Return the positions of at most `limit` (>= 4) points that keep a curve's shape.

    Kept are both ends, and the smallest and the largest value in each of equal stretches, so that no peak is lost.
    """
    if y.size <= limit:
        return np.arange(y.size)
    stretches = np.array_split(np.arange(1, y.size - 1), (limit - 2) // 2)
    extremes = [each[pick] for each in stretches for pick in (y[each].argmin(), y[each].argmax())]
    return np.unique([0, *extremes, y.size - 1])


def number(value: float) -> float | None:
    """Return a value for JSON with five digits, more than a screen shows; None if it is not finite."""
    if not np.isfinite(value):
        return None
    rounded = float(f"{value:.5g}")
    return int(rounded) if rounded.is_integer() else rounded


def _curve(run: Run, metric: str, split: str, axis: Axis) -> Curve:
    if axis == "epochs" and not run.info.get("train_samples"):  # functions have no data set
        return Curve(np.empty(0), np.empty(0))
    return run_curve(run, metric, split, axis)
