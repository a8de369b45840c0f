"""Rennala SGD: a minibatch of the first S gradients at the same center, from any workers.

    B ← B + Δθᵏ if the worker started from the present center, else the commit is dropped
    at the S-th commit:   θ̃ ← θ̃ + B / S,   B ← 0;      θᵏ ← θ̃ at once

Workers compute window after window at the same center, fast workers more of them: no worker waits for the slowest. No
stale commit is ever applied. The price is dropped work, at most one window per worker and move (`dropped_share` in the
summary).

S = n with equally fast workers is not synchronous SGD, although a single round makes the same update of n commits from
one center. No worker waits for the end of a round: the server replies to the first n − 1 committers at once, with the
center before its move. The last commit moves it, and their next commits are dropped: n − 1 of every 2 n − 1.

Source: A. Tyurin, P. Richtárik, "Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed
Computation Model", 2023 (arXiv:2305.12387).
Differences: the paper collects gradients (window 1); here a commit is a window's local updates. An update that only
collects a commit also counts as an update: a target takes S times as many updates as moves. When training ends, the
server adds the commits in the buffer with the same weight 1/S each. If shards differ between workers, dropping the
commits of slow workers biases the center.
"""

import jax.numpy as jnp

from distopt.optimizers.parts import buffered
from distopt.rules import DistributedOptimizer
from distopt.settings import require_whole


def rennala(*, batch: int | None, workers: int) -> DistributedOptimizer:
    """Build Rennala SGD.

    Args:
        batch: S ≥ 1, commits per move of the center; None: the number of workers.
        workers: n.
    """
    require_whole("batch", batch, optional=True)
    return buffered(batch or workers, lambda delay: jnp.ones(delay.shape), max_staleness=0)
