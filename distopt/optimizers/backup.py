"""Synchronous SGD with backup workers: the first n − b gradients make the update, the late ones are dropped.

    θ̃ ← θ̃ + U(θ̃, (1/(n − b)) Σ gᵏ)   over the first n − b workers that deliver gᵏ at the present θ̃;      θᵏ ← θ̃

A worker whose gradient comes too late starts over from the new center, so that b permanent stragglers cost only their
own work (`dropped_share` in the summary). Training ends when fewer than n − b workers have budget left. b = 0 is
synchronous SGD until the smallest budget is used up.

Source: J. Chen et al., "Revisiting Distributed Synchronous SGD", 2016 (arXiv:1604.00981).
Differences: TensorFlow's `SyncReplicasOptimizer` counts gradients, not workers: a fast worker may contribute twice to
an update. The samples of a dropped gradient are used up, so the samples that count depend on which workers are fast.
"""

import optax

from distopt.optimizers.synchronous import synchronous
from distopt.rules import DistributedOptimizer, Synchrony
from distopt.settings import require_whole


def backup(*, backups: int, local: optax.GradientTransformation, workers: int) -> DistributedOptimizer:
    """Build synchronous SGD with backup workers.

    Args:
        backups: 0 ≤ b < n, workers that an update does not wait for.
        local: the configured local optimizer, here applied by the server to the mean gradient.
        workers: n.
    """
    require_whole("backups", backups, least=0)
    if backups >= workers:
        raise ValueError(f"backups={backups} must be less than the number of workers, {workers}")
    synchrony = Synchrony(workers - backups, max_staleness=0, whole=True)
    return synchronous(local=local)._replace(synchrony=synchrony)
