"""Ringmaster ASGD: asynchronous SGD that discards commits whose delay reaches a threshold.

    θ̃ ← θ̃ + Δθᵏ   if τ < R, else the commit is discarded;      θᵏ ← θ̃

τ counts the commits applied, not those discarded, since the worker's last reply. R = 1 applies fresh commits only, that
is the steps of whoever finishes first; large R is Downpour.

Source: A. Maranjyan, A. Tyurin, P. Richtárik, "Ringmaster ASGD: The First Asynchronous SGD with Optimal Time
Complexity", 2025 (arXiv:2501.16168), algorithm 4, which lets late workers finish.
Differences: the paper sends gradients (window 1); here a commit is a window's local updates. Algorithm 5, which
stops late workers in the middle, is left out. An update that discards a commit counts as an update too, one that leaves
the center alone: column `accepted`. With shards that differ from worker to worker, discarding slow workers biases the
center.
"""

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import Rounds, adopt_center, commit_delta, outcome, require_whole, weighted_sum
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, Update, WorkerRule


def ringmaster(*, threshold: int | None) -> DistributedOptimizer:
    """Build Ringmaster ASGD.

    Args:
        threshold: R ≥ 1, the delay from which commits are discarded; None: the number of workers.
    """
    require_whole("threshold", threshold, optional=True)

    def update(commits: Commits, rounds: Rounds, center: Params) -> Update:
        delay = rounds.delay(commits.worker)
        accepted = delay < (threshold or rounds.workers)
        step = weighted_sum(accepted, commits.message)
        rounds = rounds.after(commits.worker, jnp.any(accepted))
        return Update(jax.tree.map(jnp.add, center, step), rounds, metrics=outcome(delay, accepted))

    server = ServerRule(lambda center, workers: Rounds.begin(workers), update)
    return DistributedOptimizer(WorkerRule(commit_delta, adopt_center, commits="delta"), server)
