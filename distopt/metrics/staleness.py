"""Staleness: how many updates, and how far in parameter space, a commit is behind the center it is applied to."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from distopt.records import RESTARTS


def accepted(commits: pd.DataFrame) -> pd.DataFrame:
    """Return the accepted commits; all commits if the records do not say."""
    return commits[commits["accepted"] > 0] if "accepted" in commits else commits


def applied(commits: pd.DataFrame) -> pd.DataFrame:
    """Return the commits that changed the center: accepted, and not refused for their content."""
    found = accepted(commits)
    return found[found["refused"] != 1] if "refused" in found else found


def histogram(commits: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the values 0, 1, ..., max(τ) and the share of accepted commits with each; the shares add up to 1."""
    values = accepted(commits)["staleness"].to_numpy(np.int64)
    counts = np.bincount(values) if values.size else np.zeros(0)
    return np.arange(counts.size, dtype=np.int64), counts / max(1, counts.sum())


def describe(values: pd.Series) -> dict[str, float]:
    """Return mean, var, std, q95 and max of staleness or distance; NaN for all without values.

    The variance is that of the values themselves (divided by their number); q95 is the 0.95 quantile.
    """
    known = values.to_numpy(np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return dict.fromkeys(("mean", "var", "std", "q95", "max"), float("nan"))
    return {
        "mean": float(known.mean()),
        "var": float(known.var()),
        "std": float(known.std()),
        "q95": float(np.quantile(known, 0.95)),
        "max": float(known.max()),
    }


def by_worker(commits: pd.DataFrame) -> pd.DataFrame:
    """Return one row per worker: its accepted commits, their share, and mean, var, std, q95, max of its staleness."""
    commits = accepted(commits)
    rows = [
        {"worker": worker, "commits": len(own), "share": len(own) / len(commits)} | describe(own["staleness"])
        for worker, own in commits.groupby("worker")
    ]
    columns = ["worker", "commits", "share", "mean", "var", "std", "q95", "max"]
    return pd.DataFrame(rows, columns=columns).set_index("worker")


def contradictions(
    commits: pd.DataFrame, events: pd.DataFrame | None = None, *, pulls: bool = False, fetch: int = 1
) -> int:
    """Return the number of commits whose staleness contradicts their order; 0 unless a launcher is wrong.

    A worker that pulls right after its own commit has τ = v - (update of its last commit with a reply), at any quorum
    and any speeds. v is the version that its commit meets: update - 1 for an applied commit, update for a dropped one.
    For quorum 1 the sum over all commits is the identity Σ τ + Σ_k age_k = T (n - 1) after T updates, where age_k is T
    minus the update of worker k's last commit. If events say that the worker pulled the center in between, the version
    it pulled takes the place of its last commit with a reply.

    Args:
        commits: in the order applied or dropped.
        events: of the same run, see `distopt.records`; None: no worker pulled the center because of an event.
        pulls: workers may have pulled later, before a commit or because they had to wait; τ may then be smaller.
        fetch: the server replies to every `fetch`-th commit of a worker.
    """
    worker = commits["worker"]
    regular = commits.groupby("worker").cumcount() % fetch == fetch - 1
    answered = commits["update"].where(regular | (commits.get("refused", 0) == 1))
    pulled = answered.groupby(worker).ffill().groupby(worker).shift().fillna(0).to_numpy(np.int64)
    if events is not None:
        restarts = events[events["kind"].isin(RESTARTS)].groupby(["worker", "sequence"])["update"].max()
        before = pd.MultiIndex.from_arrays([worker, commits.groupby("worker").cumcount()])
        pulled = np.maximum(pulled, restarts.reindex(before, fill_value=0).to_numpy(np.int64))
    met = commits["update"] - commits.get("accepted", 1)
    excess = commits["staleness"] - (met - pulled)
    return int((excess > 0).sum() if pulls else (excess != 0).sum())
