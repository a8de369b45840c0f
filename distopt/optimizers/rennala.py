"""Rennala SGD: a minibatch of S gradients at the same center, from whoever delivers them first.

    B ← B + Δθᵏ if the worker started from the present center, else the commit is discarded
    at the S-th commit:   θ̃ ← θ̃ + B / S,   B ← 0;      θᵏ ← θ̃ at once

Workers compute one window after the other at the same center, the fast ones more of them: nobody waits for the slowest.
No stale commit is ever applied; the price is the work that is discarded, at most one window per worker and move.

Source: A. Tyurin, P. Richtárik, "Optimal Time Complexities of Parallel Stochastic Optimization Methods Under a Fixed
Computation Model", 2023 (arXiv:2305.12387).
Differences: the paper collects gradients (window 1); here a commit is a window's local updates. An update that discards
a commit, or only collects it, counts as an update too, one that leaves the center alone: column `accepted`. With shards
that differ from worker to worker, discarding slow workers biases the center.
"""

import jax.numpy as jnp

from distopt.optimizers.parts import adopt_center, buffered, commit_delta, require_whole
from distopt.rules import DistributedOptimizer, WorkerRule


def rennala(*, batch: int | None) -> DistributedOptimizer:
    """Build Rennala SGD.

    Args:
        batch: S ≥ 1, commits per move of the center; None: as many as there are workers.
    """
    require_whole("batch", batch, optional=True)
    server = buffered(lambda workers: batch or workers, lambda delay: (delay == 0).astype(jnp.float32))
    return DistributedOptimizer(WorkerRule(commit_delta, adopt_center, commits="delta"), server)
