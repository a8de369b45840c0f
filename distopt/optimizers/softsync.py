"""n-softsync with staleness-aware rates: the server collects q commits of any workers and divides each by its delay.

    θ̃ ← θ̃ + (1/q) Σⱼ Δθʲ / max(τⱼ, 1),      q = ⌊n / s⌋,      θᵏ ← θ̃ at once, without waiting for the others

s = 1 collects as many commits as there are workers; s = n applies each at once. τ counts moves of the center, not
commits (column `delay`); its mean is about s. The columns `staleness` and `update` count every commit, even one that
only fills the buffer: q updates are one move of the center, and a target takes q times as many updates as moves.

Source: W. Zhang, S. Gupta, X. Lian, J. Liu, "Staleness-aware Async-SGD for Distributed Deep Learning", 2016
(arXiv:1511.05950).
Differences: the paper divides the learning rate of a gradient (window 1); here the weight multiplies a window's local
updates. A commit of delay 0, which the paper does not have, counts in full. When training ends, the server adds the
commits in the buffer with the same weight 1/q each.
"""

import jax.numpy as jnp

from distopt.optimizers.parts import buffered
from distopt.rules import DistributedOptimizer
from distopt.settings import require_whole


def softsync(*, splitting: int, workers: int) -> DistributedOptimizer:
    """Build staleness-aware n-softsync.

    Args:
        splitting: s ≥ 1, moves of the center per n commits; numbers above n count as n.
        workers: n.
    """
    require_whole("splitting", splitting)
    return buffered(max(1, workers // splitting), lambda delay: 1 / jnp.maximum(delay, 1))
