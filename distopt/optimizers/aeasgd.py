"""AEASGD, asynchronous elastic averaging: each worker exchanges with the center whenever its window ends.

    Eᵏ = α (θᵏ − θ̃),   θ̃ ← θ̃ + Eᵏ,   θᵏ ← θᵏ − Eᵏ

Stable in round robin iff 0 ≤ α ≤ (4 − 2a) / (4 − a) with a = ηh, whatever the number of workers.

Source: Zhang, Choromanska, LeCun 2015, algorithm 1; Hermans 2017, equations 2.15 and 2.16, algorithm 9.
Differences: the exchange is one atomic transaction at the server. In dist-keras pull and commit are two messages, so
that several workers may use the same center, and the synchronous bound of EASGD applies to their number. Large ρ pulls
harder towards the center; dist-keras's documentation says the opposite.
"""

from collections.abc import Callable

from distopt.optimizers.parts import elastic
from distopt.rules import DistributedOptimizer


def aeasgd(*, rho: float, elastic_learning_rate: float) -> DistributedOptimizer:
    """Build AEASGD.

    Args:
        rho: ρ ≥ 0, elasticity; small values let workers explore further from the center.
        elastic_learning_rate: η of the elastic force, > 0; α = ηρ. Not the local optimizer's rate.
    """
    worker, server = elastic(rho, elastic_learning_rate)
    return DistributedOptimizer(worker, server, warnings=warnings(rho * elastic_learning_rate))


def warnings(alpha: float) -> Callable[[int, int], list[str]]:
    """Return a check of α; shared with EAMSGD."""

    def check(workers: int, window: int) -> list[str]:
        del workers, window
        if alpha <= 1:
            return []
        return [
            f"alpha = rho * elastic_learning_rate = {alpha:.3g} is above 1: the asynchronous elastic exchange is "
            "unstable (Zhang, Choromanska, LeCun 2015: at most (4 - 2a) / (4 - a) in round robin on a quadratic)"
        ]

    return check
