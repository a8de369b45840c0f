"""Sequential SGD: one worker, no communication that matters; the baseline of every other method.

    θ̃ ← θ̃ + Σ U(θ, g)      over the λ local steps of a window

With `local.on_pull=keep` the window only sets how often the center is updated: any λ gives the same parameters at the
same step. With `reset` the local optimizer starts afresh in every window.

Differences: dist-keras's `SingleTrainer` stops after one mini-batch, because its worker calls a method that only
network workers have, and the error is swallowed.
"""

from distopt.optimizers.parts import DELTA, additive
from distopt.rules import DistributedOptimizer


def sequential() -> DistributedOptimizer:
    """Build sequential SGD; it uses one worker, whatever `workers` is."""
    return DistributedOptimizer(DELTA, additive(), workers=1)
