"""Post-local SGD: models are averaged after every step at first, later after every window.

    first W steps:   θᵏ ← θᵏ + U(g),         θ̃ ← (1/n) Σₖ θᵏ,   θᵏ ← θ̃
    then:            λ steps of θᵏ + U(g),   θ̃ ← (1/n) Σₖ θᵏ,   θᵏ ← θ̃

Early on, while parameters move fast, the workers stay together; later the noise of local steps helps to find minima
that generalize. With plain SGD the first phase is synchronous SGD. W = ∞ is then `synchronous`; W = 0 is `averaging`.

Source: T. Lin, S. U. Stich, K. K. Patel, M. Jaggi, "Don't Use Large Mini-Batches, Use Local SGD", 2018
(arXiv:1808.07217), section 3.
Differences: every worker keeps its own state of the local optimizer in both phases (the paper's local momentum);
PyTorch's `PostLocalSGDOptimizer` averages gradients in the first phase, so that the states are equal there. Steps are
counted per worker.
"""

from distopt.optimizers.averaging import averaging
from distopt.rules import DistributedOptimizer, Planned, Steps
from distopt.settings import require_whole


def post_local(*, warmup: int | None) -> DistributedOptimizer:
    """Build post-local SGD.

    Args:
        warmup: W ≥ 0, local steps of each worker before windows get longer; None: forever.
    """
    require_whole("warmup", warmup, optional=True, least=0)

    def windows(window: int, sequence: int, speed: float) -> int:
        del speed
        return 1 if warmup is None or sequence <= warmup else window

    averages = averaging()
    return averages._replace(worker=averages.worker._replace(steps=Steps(until=Planned(windows))))
