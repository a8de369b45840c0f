"""How well virtual time repeats a real run: one configuration on the wall clock and in simulation."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from distopt.metrics import convergence, staleness
from distopt.metrics.convergence import Curve
from distopt.records import ACCURACY
from distopt.report.comparison.compare import choose
from distopt.report.comparison.grouping import caption
from distopt.report.figures.plots import save
from distopt.report.figures.style import PAGE, STYLE, color
from distopt.runs.results import Run


def errors(real: Run, simulated: Run) -> pd.DataFrame:
    """Return one row per quantity: `quantity`, `real`, `simulated`, `error_percent`.

    For numbers the error is 100 (simulated - real) / real: training time (of the last update, from the start of the
    clock), updates, mean seconds of a local step and between two windows of a worker, mean and standard deviation of
    the staleness, the center's metric at the end. The staleness distributions differ by their total variation distance
    Σ_τ |p_τ - q_τ| / 2, and the center's curves by the largest and by the mean absolute difference up to the end of the
    shorter one, as a share of 1 for accuracy and of the real curve's range for loss; these rows have NaN as `real` and
    `simulated`. Undefined errors are NaN.
    """
    metric, split = choose([real], None, None)
    measured, repeated = _numbers(real), _numbers(simulated)
    rows = [(name, value, repeated[name], relative_error(value, repeated[name])) for name, value in measured.items()]
    rows.append(("staleness distribution", np.nan, np.nan, 100 * total_variation(real.commits, simulated.commits)))
    name = f"{split} {metric.name}"
    curves = [convergence.curve(run.evals, metric.name, split) for run in (real, simulated)]
    scale = 1.0 if metric == ACCURACY else float(np.ptp(curves[0].y))
    largest, mean = differences(*curves)
    rows += [
        (
            f"final {name}",
            curves[0].y[-1],
            curves[1].y[-1],
            relative_error(curves[0].y[-1], curves[1].y[-1]),
        ),
        (f"{name} over time, largest", np.nan, np.nan, 100 * largest / scale if scale else np.nan),
        (f"{name} over time, mean", np.nan, np.nan, 100 * mean / scale if scale else np.nan),
    ]
    return pd.DataFrame(rows, columns=["quantity", "real", "simulated", "error_percent"])


def relative_error(real: float, simulated: float) -> float:
    """Return 100 (simulated - real) / real; 0 if both are 0, NaN if only `real` is 0."""
    if real == simulated:
        return 0.0
    return 100 * (simulated - real) / real if real else float("nan")


def total_variation(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Return Σ_τ |p_τ - q_τ| / 2 of the staleness of two frames of commits, in [0, 1]."""
    shares = [pd.Series(staleness.histogram(commits)[1]) for commits in (one, other)]
    return float(shares[0].sub(shares[1], fill_value=0).abs().sum() / 2)


def differences(one: Curve, other: Curve) -> tuple[float, float]:
    """Return the largest and the mean over x of |y_one - y_other|, on the common interval of the curves.

    Curves are linear between evaluations; the mean is by the trapezoidal rule on the x of both. NaN without a common
    interval.
    """
    if not (one.x.size and other.x.size):
        return float("nan"), float("nan")
    begin, end = max(one.x[0], other.x[0]), min(one.x[-1], other.x[-1])
    if begin >= end:
        return float("nan"), float("nan")
    x = np.unique(np.clip(np.concatenate([one.x, other.x]), begin, end))
    gap = np.abs(np.interp(x, one.x, one.y) - np.interp(x, other.x, other.y))
    return float(gap.max()), float(np.trapezoid(gap, x) / (end - begin))


def plot(real: Run, simulated: Run, folder: str | Path) -> list[Path]:
    """Draw `calibration` into `folder`: staleness and the center's metric over time; return the files written."""
    with matplotlib.rc_context(STYLE):
        return save(figure(real, simulated), Path(folder), "calibration")


def figure(real: Run, simulated: Run) -> Figure:
    """Draw the staleness histograms and the curves of the center over time, side by side."""
    metric, split = choose([real], None, None)
    drawn = Figure(figsize=(PAGE, 2.6), layout="constrained")
    left, right = drawn.subplots(1, 2)
    looks: dict[str, dict[str, Any]] = {
        "real": {"color": "0.6"},
        "simulated": {"color": color(real.optimizer)},
    }
    for (name, look), run in zip(looks.items(), (real, simulated), strict=True):
        _stairs(left, run.commits, name, look["color"], filled=name == "real")
        curve = convergence.curve(run.evals, metric.name, split)
        right.plot(curve.x, curve.y, label=name, linestyle="-" if name == "real" else "--", **look)
    left.set(xlabel="staleness (updates)", ylabel="share of commits")
    left.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    left.set_axisbelow(True)
    left.legend()
    right.set(xlabel="training time (s)", ylabel=f"{split} {metric.name}")
    right.set_xlim(left=0)
    right.legend()
    drawn.supxlabel(f"{real.optimizer} · {caption([real])}", fontsize=7, color="0.35")
    return drawn


def _stairs(axes: Axes, commits: pd.DataFrame, name: str, shade: Any, *, filled: bool) -> None:
    _, shares = staleness.histogram(commits)
    axes.stairs(shares, np.arange(shares.size + 1) - 0.5, fill=filled, color=shade, label=name, linewidth=1.3)


def _numbers(run: Run) -> dict[str, float]:
    commits, numbers = run.commits, staleness.describe(staleness.accepted(run.commits)["staleness"])
    return {
        "training time (s)": float(commits["time_s"].iloc[-1]),
        "updates": float(commits["update"].iloc[-1]),
        "step (s)": float(commits["compute_s"].sum() / commits["steps"].sum()),
        "exchange with waiting (s)": float(commits.loc[commits["worker"].duplicated(), "exchange_s"].mean()),
        "staleness mean": numbers["mean"],
        "staleness std": numbers["std"],
    }
