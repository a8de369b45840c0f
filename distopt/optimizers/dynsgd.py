"""DynSGD: Downpour whose commits count less the staler they are.

    θ̃ ← θ̃ + w(τ) Δθᵏ,   θᵏ ← θ̃,      τ the staleness of the commit

| weighting | w(τ) | source |
|---|---|---|
| `delay_plus_one` | 1 / (τ + 1) | Hermans 2017, algorithms 7 and 8; dist-keras |
| `delay` | 1 / max(τ, 1) | Hermans 2017, equation 2.13 |
| `constant` | 1 / n | Jiang et al. 2017, the baseline ConSGD |

Source: J. Jiang et al., "Heterogeneity-aware Distributed Parameter Servers", 2017; Hermans 2017, equation 2.13,
algorithms 7 and 8.
Differences: equation 2.13 prints 1/τ, which is not defined for a fresh commit; here such a commit counts in full. Jiang
et al. define the delay by summaries per version inside a stale-synchronous server.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import DELTA, staleness_weighted
from distopt.rules import DistributedOptimizer
from distopt.settings import require_choice

WEIGHTS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "delay_plus_one": lambda staleness, workers: 1 / (staleness + 1),
    "delay": lambda staleness, workers: 1 / jnp.maximum(staleness, 1),
    "constant": lambda staleness, workers: jnp.ones(staleness.shape) / workers,
}


def dynsgd(*, weighting: str = "delay_plus_one") -> DistributedOptimizer:
    """Build DynSGD.

    Args:
        weighting: the weight w(τ) of a commit, a name from the table above.
    """
    weight = require_choice("weighting", weighting, WEIGHTS)
    return DistributedOptimizer(DELTA, staleness_weighted(weight))
