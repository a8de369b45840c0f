"""Downpour SGD: workers add their accumulated updates to the center and continue from it.

    θ̃ ← θ̃ + Δθᵏ,   θᵏ ← θ̃,      Δθᵏ = Σ U(θ, g) over the λ local steps of the window

On a quadratic in round robin it is stable iff the gain of a window is below 2 sin(π / (2 (2n − 1))).

Source: J. Dean et al., "Large Scale Distributed Deep Networks", 2012, algorithm 1.1; Hermans 2017, equations 2.11 and
2.12, algorithm 5.
Differences: fetch and push happen together at the end of a window (n_fetch = n_push = λ), and every window has λ steps.
dist-keras tests for the end of a window before the step, so that its first window is one step short. The commit is a
sum of local updates, not of gradients: adaptive local optimizers keep their scale.
"""

from distopt.optimizers.parts import additive, adopt_center, commit_delta
from distopt.rules import DistributedOptimizer, WorkerRule


def downpour() -> DistributedOptimizer:
    """Build Downpour SGD."""
    return DistributedOptimizer(WorkerRule(commit_delta, adopt_center), additive())
