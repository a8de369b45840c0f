"""The conserved sum of elastic averaging: only local steps change S = θ̃ + Σₖ θᵏ, at any speeds and any quorum.

In an exchange the center gains what its committers give away. A commit that is lost, applied twice, or answered with
the reply to another commit breaks this. Every run of a rule that `conserves` is checked, by probes of the trees (see
`distopt.optimizers.parts.probes`): numbers that add up as the trees do.

Source: Zhang, Choromanska, LeCun 2015; the identity follows from their equations 5 and 6.
"""

import numpy as np
import pandas as pd

from distopt.metrics import staleness

PROBES = ("start_probe", "end_probe", "center_probe", "center_sampled")
TOLERANCE = 1e-4  # relative to the size of the probed weights; rounding is about 1e-6


def drift(commits: pd.DataFrame, *, pulls: bool = False) -> pd.Series:
    """Return for each update the center's gain minus what its committers gave away, over the size of the weights.

        (θ̃ₜ − θ̃ₜ₋₁ − Σₖ (endᵏ − nextᵏ)) / ‖θ̃‖,      nextᵏ: where committer k opened its next window

    all as probes; it is 0 up to rounding. Updates with a committer that has no later window are left out; without
    probes the series is empty. Commits that were not applied, and what their workers gave away with them, do not count.

    Args:
        commits: in the order applied.
        pulls: workers may have started over from the center; updates right before such a restart are left out.
    """
    if not set(PROBES) <= set(commits) or commits.empty:
        return pd.Series(dtype=float)
    own = commits.groupby("worker")
    following = own["start_probe"].shift(-1)
    applied = staleness.applied(commits)
    if applied.empty:
        return pd.Series(dtype=float)
    center = applied.groupby("update")["center_probe"].last()
    if pulls:
        pulled = own["update"].shift(-1) - 1 - own["staleness"].shift(-1)
        restarted = (following - pulled.map(center)).abs() <= TOLERANCE * commits["center_sampled"]
        following = following.mask(restarted)
    given = (applied["end_probe"] - following[applied.index]).groupby(applied["update"]).sum(skipna=False)
    gained = center.diff()
    gained.iloc[0] = center.iloc[0] - commits["start_probe"].iloc[0]  # all windows open at the initial center
    sizes = applied[list(PROBES)].abs().max(axis=1).groupby(applied["update"]).max()
    return ((gained - given) / sizes.cummax()).dropna()


def violations(commits: pd.DataFrame, *, pulls: bool = False) -> int:
    """Return how many updates changed the conserved sum; 0 unless a launcher or a rule is wrong."""
    return int((drift(commits, pulls=pulls).abs() > TOLERANCE).sum())


def equilibrium(commits: pd.DataFrame) -> pd.Series:
    """Return ‖U‖ / ‖E‖ of each commit: the mean local step of its window over the elastic difference of its exchange.

    With local SGD at the elastic learning rate this is ‖g‖ / (ρ ‖θᵏ − θ̃‖), g the window's mean gradient. Below 1 the
    elastic force is stronger than the gradient, and exchanges undo most of the local steps (Hermans 2017, equations 2.6
    to 2.10). Dimensionless; both norms are over the sampled weights; empty for rules without an elastic exchange.
    """
    if not {"moved_sampled", "exchange_sampled"} <= set(commits):
        return pd.Series(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return commits["moved_sampled"] / commits["steps"] / commits["exchange_sampled"]
