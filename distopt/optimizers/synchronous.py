"""Synchronous data-parallel SGD: the mean of all workers' gradients, one optimizer at the server.

    θ̃ ← θ̃ + U(θ̃, (1/n) Σₖ gᵏ),      gᵏ the gradient of worker k's batch at θ̃

With a window of λ > 1 each worker averages λ batches at the same θ̃ before it commits, as if its batch were λ times as
large.

Source: J. Hermans, "On Scalable Deep Learning and Parallelizing Gradient Descent", 2017, section 1.2 (figure 1.3).
Differences: the gradients are averaged, not summed; the local optimizer (`local=`) runs at the server, on the mean
gradient. TensorFlow's early `SyncReplicasOptimizer` summed.
"""

import optax

from distopt.optimizers.parts import GRADIENT, additive, mean
from distopt.rules import BARRIER, DistributedOptimizer


def synchronous(*, local: optax.GradientTransformation) -> DistributedOptimizer:
    """Build synchronous SGD.

    Args:
        local: the configured local optimizer, here applied by the server to the mean gradient.
    """
    return DistributedOptimizer(GRADIENT, additive(local, fold=lambda commits: mean(commits.message)), BARRIER)
