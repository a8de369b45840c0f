"""SlowMo: model averaging with a slow momentum at the server.

    u ← β u + (θ̃ − (1/n) Σₖ θᵏ) / η,   θ̃ ← θ̃ − α η u,   θᵏ ← θ̃

The local learning rate η is constant here and cancels: with u' = η u the server needs only β and α. β = 0 and α = 1
give model averaging.

Source: J. Wang, V. Tantia, N. Ballas, M. Rabbat, "SlowMo: Improving Communication-Efficient Distributed SGD with Slow
Momentum", 2020 (arXiv:1910.00643), algorithm 1, with local SGD as the base.
Differences: where η follows a schedule, the original rescales its momentum with it. `local.on_pull` decides whether the
workers keep or reset their own momentum; the paper tries both.
"""

import optax

from distopt.optimizers.parts import DELTA, additive, mean
from distopt.rules import BARRIER, DistributedOptimizer
from distopt.settings import require_number


def slowmo(*, momentum: float, learning_rate: float) -> DistributedOptimizer:
    """Build SlowMo.

    Args:
        momentum: 0 ≤ β < 1 of the server.
        learning_rate: α > 0, the paper's slow learning rate, which multiplies the workers' mean update.
    """
    require_number("momentum", momentum, positive=False, most=1, below=True)
    require_number("learning_rate", learning_rate)
    outer = optax.chain(optax.trace(momentum), optax.scale(learning_rate))
    server = additive(outer, fold=lambda commits: mean(commits.message))
    return DistributedOptimizer(DELTA, server, BARRIER)
