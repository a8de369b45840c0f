"""Diagnostics of a run in numbers: gap, waste, and further columns of the optimizer's commits."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from distopt.metrics import conservation, staleness


def gap(commits: pd.DataFrame, parameters: int) -> pd.Series:
    """Return the gap ‖θ̃_now − θ̃_pulled‖₂ / √d of each commit: the root mean square movement of a weight.

    Unit: that of the parameters. Unlike the distance, the gap can be compared between models of different size.
    Source: I. Hakimi et al., "Taming Momentum in a Distributed Asynchronous Environment", 2019 (arXiv:1907.11612).
    """
    return commits["distance"] / np.sqrt(parameters)


def relative_gap(commits: pd.DataFrame, evals: pd.DataFrame) -> pd.Series:
    """Return ‖θ̃_now − θ̃_pulled‖₂ / ‖θ̃_now‖₂ of each commit, dimensionless.

    The norm of the center is known at evaluations and interpolated linearly between them; NaN if it was not recorded.
    """
    if "center_norm" not in evals or evals.empty:
        return pd.Series(np.nan, index=commits.index)
    known = evals.drop_duplicates("update")
    norm = np.interp(commits["update"] - 1, known["update"], known["center_norm"])
    with np.errstate(divide="ignore", invalid="ignore"):
        return commits["distance"] / norm


def wasted(commits: pd.DataFrame) -> dict[str, float]:
    """Return the wasted shares of all samples (without data: of local steps), in [0, 1]; NaN without samples.

    `dropped_share` is of commits that the server dropped (`accepted` is 0) or refused. `duplicated_share` is of commits
    whose work was given out twice on purpose and already done (`duplicate` is 1), and of commits recorded twice by
    worker and sequence number, which means that a launcher is wrong.
    """
    unit = "steps" if "steps" in commits and not commits["samples"].any() else "samples"
    samples = commits[unit].to_numpy(np.float64)
    if not samples.sum() > 0:
        return {"dropped_share": float("nan"), "duplicated_share": float("nan")}
    dropped = ~commits.index.isin(staleness.applied(commits).index)
    known = {"worker", "sequence"} <= set(commits)
    again = commits.duplicated(["worker", "sequence"]).to_numpy() if known else np.zeros(len(commits), bool)
    again = again | (np.asarray(commits.get("duplicate", 0)) == 1)
    shares = (float(samples[which].sum() / samples.sum()) for which in (dropped, again & ~dropped))
    return dict(zip(("dropped_share", "duplicated_share"), shares, strict=True))


def describe(commits: pd.DataFrame, evals: pd.DataFrame, parameters: int | None) -> dict[str, float]:
    """Return the diagnostics for `summary.json`, without those that were not recorded.

    `gap_mean`, `gap_relative_mean`, shares of wasted work (see `wasted`), `progress_cosine_mean` over commits whose
    center had moved (see `optimizers.parts.diagnostics`); `equilibrium_median` of `conservation.equilibrium` and
    `equilibrium_share`, the share of commits with a ratio of at most 1; `conserved_drift_max` of `conservation.drift`.
    """
    values = {"gap_relative_mean": _mean(relative_gap(commits, evals)), **wasted(commits)}
    if parameters:
        values["gap_mean"] = _mean(gap(commits, parameters))
    if "progress_cosine" in commits:
        values["progress_cosine_mean"] = _mean(commits["progress_cosine"])
    if len(ratio := conservation.equilibrium(commits)):
        values["equilibrium_median"] = float(ratio.median())
        values["equilibrium_share"] = _mean(ratio.dropna() <= 1)
    if len(drift := conservation.drift(commits, pulls=True)):
        values["conserved_drift_max"] = float(drift.abs().max())
    return values


def _mean(values: Iterable[float]) -> float:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")
