"""DiLoCo: workers train by themselves for a long window; their mean update is a gradient for Nesterov momentum.

    P = −(1/n) Σₖ Δθᵏ,   v ← μ v + P,   θ̃ ← θ̃ − ηₛ (P + μ v),   θᵏ ← θ̃

ηₛ = 1 and μ = 0 give model averaging.

Source: A. Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023
(arXiv:2311.08105), algorithm 1.
Differences: the paper's inner optimizer is AdamW with 500 steps per window (`local=adamw optimizer.window=500`), whose
states stay with the workers (`local.on_pull=keep`). Nesterov momentum has the form of PyTorch and optax. The first
DiLoCo of torchft had the wrong sign of P.
"""

import optax

from distopt.optimizers.parts import DELTA, additive, mean
from distopt.rules import BARRIER, DistributedOptimizer
from distopt.settings import require_number


def diloco(*, learning_rate: float, momentum: float) -> DistributedOptimizer:
    """Build DiLoCo.

    Args:
        learning_rate: ηₛ > 0 of the outer optimizer.
        momentum: 0 ≤ μ < 1 of the outer optimizer.
    """
    require_number("learning_rate", learning_rate)
    require_number("momentum", momentum, positive=False, most=1, below=True)
    outer = optax.chain(optax.trace(momentum, nesterov=True), optax.scale(learning_rate))
    server = additive(outer, fold=lambda commits: mean(commits.message))
    return DistributedOptimizer(DELTA, server, BARRIER)
