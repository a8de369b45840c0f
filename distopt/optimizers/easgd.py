"""EASGD, synchronous elastic averaging: workers and center attract each other at the end of every window.

    Eᵏ = α (θᵏ − θ̃),   θ̃ ← θ̃ + Σₖ Eᵏ,   θᵏ ← θᵏ − Eᵏ      for all k from the same old θ̃

On a quadratic of curvature h with a = 1 − (1 − ηh)^λ between 0 and 1 the exchange is stable iff
α ≤ (4 − 2a) / (2 (n + 1) − (n + 2) a), which is at least 2 / (n + 1).

Source: S. Zhang, A. Choromanska, Y. LeCun, "Deep learning with Elastic Averaging SGD", 2015, equations 5 and 6; Hermans
2017, equations 2.4 and 2.5, algorithm 4.
Differences: a worker takes λ steps and then exchanges, as in the thesis. The paper evaluates the gradient before the
exchange and applies both at once, which is stable iff α ≤ (4 − 2a) / (2 (n + 1) − n a) with a = ηh; dist-keras
exchanges first. TensorFlow's contrib `ElasticAverageOptimizer` also adds ρ ‖θᵏ − θ̃‖² / 2 to the loss of every step;
this second elastic force is not available here. The paper sets α = 0.9 / n, the thesis α = ηρ.
"""

from collections.abc import Callable

from distopt.optimizers.parts import elastic, until_equilibrium
from distopt.rules import BARRIER, DistributedOptimizer


def easgd(
    *, rho: float, elastic_learning_rate: float, equilibrium: str = "none", tolerance: float = 0.0
) -> DistributedOptimizer:
    """Build EASGD.

    Args:
        rho: ρ ≥ 0, elasticity; small values let workers explore further from the center.
        elastic_learning_rate: η of the elastic force, > 0; α = ηρ. Not the local optimizer's rate.
        equilibrium: test that ends a window early where gradient and elastic force cancel, `thesis` or `relative`;
            `none`: after λ steps.
        tolerance: ε ≥ 0 of the relative test.
    """
    worker, server = elastic(rho, elastic_learning_rate)
    worker = until_equilibrium(worker, rho, elastic_learning_rate, equilibrium, tolerance)
    return DistributedOptimizer(worker, server, BARRIER, warnings=warnings(rho * elastic_learning_rate))


def warnings(alpha: float) -> Callable[[int, int], list[str]]:
    """Return a check of α against the number of workers; shared with EAMSGD."""

    def check(workers: int, window: int) -> list[str]:
        del window
        bound = 2 / (workers + 1)
        if alpha <= bound:
            return []
        return [
            f"alpha = rho * elastic_learning_rate = {alpha:.3g} is above 2 / (n + 1) = {bound:.3g}: with n={workers} "
            "workers the synchronous elastic exchange is unstable where learning rates are small (quadratic)"
        ]

    return check
