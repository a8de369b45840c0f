"""SSP, stale-synchronous parallel: Downpour in which a worker too far ahead of the slowest waits.

    θ̃ ← θ̃ + Δθᵏ;      worker k goes on, θᵏ ← θ̃, as soon as cₖ − min c ≤ B      (c: commits applied, of each worker)

The server applies every commit at once and holds back only the reply. The θᵏ with which a worker starts its window c +
1 contains the commits of all others up to c − B. B = 0 is a barrier whose updates are summed, not averaged: the stable
learning rate falls with n as for Downpour, which is B = ∞.

Source: Q. Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server", 2013.
Differences: the paper's workers read through a cache that may be older than the server's center, by the same bound;
here a worker that goes on gets the center itself. Whether the paper's inequality is strict was not confirmed: here a
worker is at most B windows ahead when it starts a window, B + 1 when it has finished it. No worker waits for one that
has used up its budget.
"""

from distopt.optimizers.parts import DELTA, additive
from distopt.rules import DistributedOptimizer, Synchrony
from distopt.settings import require_whole


def ssp(*, bound: int | None) -> DistributedOptimizer:
    """Build SSP.

    Args:
        bound: B ≥ 0, windows that a worker may be ahead of the slowest; None: any number.
    """
    require_whole("bound", bound, optional=True, least=0)
    return DistributedOptimizer(DELTA, additive(), Synchrony(bound=bound))
