"""EASGD, synchronous elastic averaging: workers and center attract each other at the end of every window.

    Eᵏ = α (θᵏ − θ̃),   θ̃ ← θ̃ + Σₖ Eᵏ,   θᵏ ← θᵏ − Eᵏ      for all k from the same old θ̃

On a quadratic of curvature h with a = ηh the exchange is stable iff α ≤ (4 − 2a) / (2 (n + 1) − n a).

Source: S. Zhang, A. Choromanska, Y. LeCun, "Deep learning with Elastic Averaging SGD", 2015, equations 5 and 6; Hermans
2017, equations 2.4 and 2.5, algorithm 4.
Differences: as in the thesis a worker takes λ steps and then exchanges. The paper evaluates the gradient before the
exchange and applies both at once; dist-keras exchanges first. The paper sets α = 0.9 / n, the thesis α = ηρ.
"""

from distopt.optimizers.parts import elastic
from distopt.rules import ALL, DistributedOptimizer


def easgd(*, rho: float, elastic_learning_rate: float) -> DistributedOptimizer:
    """Build EASGD.

    Args:
        rho: ρ ≥ 0, elasticity; small values let workers explore further from the center.
        elastic_learning_rate: η of the elastic force, > 0; α = ηρ. Not the local optimizer's rate.
    """
    return DistributedOptimizer(*elastic(rho, elastic_learning_rate), ALL)
