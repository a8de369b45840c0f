"""SSP, stale-synchronous parallel: Downpour whose fast workers wait when they are too far ahead of the slowest.

    θ̃ ← θ̃ + Δθᵏ;      worker k goes on, θᵏ ← θ̃, as soon as cₖ − min c ≤ B      (c: commits applied, of each worker)

Every commit is applied at once; only who goes on is held back. A worker that starts its window c + 1 has the commits of
all others up to c − B in its θᵏ. B = 0 is a barrier whose updates are summed, not averaged: the stable learning rate
falls with n as it does for Downpour, which is B = ∞.

Source: Q. Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server", 2013.
Differences: the paper's workers read through a cache that may be older than the server's center, by the same bound;
here whoever goes on gets the center itself. Whether the paper's inequality is strict was not confirmed: here a worker
is at most B windows ahead when it starts one, B + 1 when it has finished it. Workers that have used up their budget are
not waited for.
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
