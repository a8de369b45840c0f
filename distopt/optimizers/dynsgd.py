"""DynSGD: like Downpour, but a commit counts the less the more updates it has missed.

    θ̃ ← θ̃ + Δθᵏ / (τ + 1),   θᵏ ← θ̃,      τ the staleness of the commit

Source: J. Jiang et al., "Heterogeneity-aware Distributed Parameter Servers", 2017; Hermans 2017, equation 2.13,
algorithms 7 and 8.
Differences: the thesis prints 1/τ in the equation and 1/(τ + 1) in the algorithm; this is the algorithm, as in
dist-keras. Jiang et al. define the delay through summaries per version inside a stale-synchronous server.
"""

from distopt.optimizers.parts import additive, adopt_center, commit_delta, weighted_sum
from distopt.rules import DistributedOptimizer, WorkerRule


def dynsgd() -> DistributedOptimizer:
    """Build DynSGD."""
    server = additive(fold=lambda commits: weighted_sum(1 / (commits.staleness + 1), commits.message))
    return DistributedOptimizer(WorkerRule(commit_delta, adopt_center), server)
