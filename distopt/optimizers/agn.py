"""AGN, accumulated gradient normalization: a commit is the mean, not the sum, of the window's local updates.

    θ̃ ← θ̃ + Δθᵏ / λ,   θᵏ ← θ̃

The worker looks λ steps ahead for a direction and moves the center by one step's length. In round robin it is stable
for every a = ηh ≤ 1 if λ ≥ 1 / (2 sin(π / (2 (2n − 1)))), about (2n − 1) / π.

Source: J. Hermans, G. Spanakis, R. Möckel, "Accumulated Gradient Normalization", 2017 (arXiv:1710.02368); Hermans 2017,
equation 3.1, algorithm 10.
Differences: the class that dist-keras calls `ADAG` is this method. Equation 3.1 sums one term too many; λ are meant.
The last window of a shard is divided by the steps it really took.
"""

from distopt.optimizers.parts import additive, adopt_center, commit_mean_delta
from distopt.rules import DistributedOptimizer, WorkerRule


def agn() -> DistributedOptimizer:
    """Build AGN."""
    return DistributedOptimizer(WorkerRule(commit_mean_delta, adopt_center), additive())
