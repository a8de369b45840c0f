"""Rennala SGD: a minibatch of S gradients at the same center, from whoever delivers them first.

    B ← B + Δθᵏ if the worker started from the present center, else the commit is dropped
    at the S-th commit:   θ̃ ← θ̃ + B / S,   B ← 0;      θᵏ ← θ̃ at once

Workers compute one window after the other at the same center, the fast ones more of them: nobody waits for the slowest.
No stale commit is ever applied; the price is the work that is dropped, at most one window per worker and move
(`dropped_share` in the summary).

S = n with equally fast workers is not synchronous SGD. A round by itself is: n commits from one center make the same
update. But nobody waits for the end of a round: the first n − 1 committers are answered at once, with the center as it
still is, and what they compute there is dropped because the last commit moves it: n − 1 of every 2 n − 1 commits.

Source: A. Tyurin, P. Richtárik, "Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed
Computation Model", 2023 (arXiv:2305.12387).
Differences: the paper collects gradients (window 1); here a commit is a window's local updates. An update that only
collects a commit counts as an update too, one that leaves the center alone: counted in updates a target is S times as
far as in moves. What is in the buffer when training ends is added with the same weight 1/S per commit. With shards that
differ from worker to worker, dropping the commits of slow workers biases the center.
"""

import jax.numpy as jnp

from distopt.optimizers.parts import buffered
from distopt.rules import DistributedOptimizer
from distopt.settings import require_whole


def rennala(*, batch: int | None, workers: int) -> DistributedOptimizer:
    """Build Rennala SGD.

    Args:
        batch: S ≥ 1, commits per move of the center; None: as many as there are workers.
        workers: n.
    """
    require_whole("batch", batch, optional=True)
    return buffered(batch or workers, lambda delay: jnp.ones(delay.shape), max_staleness=0)
