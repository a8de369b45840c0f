"""Ringmaster ASGD: asynchronous SGD that drops commits whose delay reaches a threshold.

    θ̃ ← θ̃ + Δθᵏ   if τ < R, else the commit is dropped;      θᵏ ← θ̃

τ counts the commits applied, not those dropped, since the worker's last reply. R = 1 applies fresh commits only, that
is the steps of whoever finishes first; large R is Downpour. R = n drops nothing where workers commit in turn. Where
step times vary it drops commits of workers that are not slow, too: of 16 equal ones' 11 % at a coefficient of variation
of 0.1, a quarter if step times are exponential. `dropped_share` in the summary says how much of the work is dropped.

Source: A. Maranjyan, A. Tyurin, P. Richtárik, "Ringmaster ASGD: The First Asynchronous SGD with Optimal Time
Complexity", 2025 (arXiv:2501.16168), algorithm 4, which lets late workers finish.
Differences: the paper sends gradients (window 1); here a commit is a window's local updates. Algorithm 5, which
stops late workers in the middle, is left out. With shards that differ from worker to worker, dropping the commits of
slow workers biases the center.
"""

from distopt.optimizers.parts import DELTA, additive
from distopt.rules import DistributedOptimizer, Synchrony
from distopt.settings import require_whole


def ringmaster(*, threshold: int | None, workers: int) -> DistributedOptimizer:
    """Build Ringmaster ASGD.

    Args:
        threshold: R ≥ 1, the delay from which commits are dropped; None: the number of workers.
        workers: n.
    """
    require_whole("threshold", threshold, optional=True)
    return DistributedOptimizer(DELTA, additive(), Synchrony(max_staleness=(threshold or workers) - 1))
