"""FedAsync: the center is mixed with the parameters of whoever delivers, the less the staler they are.

    θ̃ ← (1 − A) θ̃ + A θᵏ,   A = A₀ w(τ),   θᵏ ← θ̃

| weighting | w(τ) |
|---|---|
| `constant` | 1 |
| `polynomial` | (1 + τ)⁻ᵃ |
| `hinge` | 1 if τ ≤ b, else 1 / (a (τ − b) + 1) |

The center moves as in AEASGD with α = A, but the worker goes on from the center instead of staying where it is.

Source: C. Xie, S. Koyejo, I. Gupta, "Asynchronous Federated Optimization", 2019 (arXiv:1903.03934).
Differences: the proximal term of the paper's local problem is left out. Plato's version multiplies the stored mixing
rate itself by the weight, so that it decays for ever.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import (
    adopt_center,
    commit_params,
    require_choice,
    require_number,
    stateless,
    weighted_sum,
)
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, State, Update, WorkerRule

#: from τ, a and b
WEIGHTS: dict[str, Callable[[jax.Array, float, float], jax.Array]] = {
    "constant": lambda staleness, a, b: jnp.ones(staleness.shape),
    "polynomial": lambda staleness, a, b: (1.0 + staleness) ** -a,
    "hinge": lambda staleness, a, b: 1 / (a * jnp.maximum(staleness - b, 0) + 1),
}


def fedasync(*, mixing: float, weighting: str, exponent: float, hinge: float) -> DistributedOptimizer:
    """Build FedAsync.

    Args:
        mixing: 0 < A₀ ≤ 1, what a fresh commit counts; 1 replaces the center by it.
        weighting: how staleness lowers that, a name from the table above.
        exponent: a ≥ 0, how fast.
        hinge: b ≥ 0, up to which staleness `hinge` lowers nothing.
    """
    require_number("mixing", mixing, most=1)
    require_number("exponent", exponent, positive=False)
    require_number("hinge", hinge, positive=False)
    weight = require_choice("weighting", weighting, WEIGHTS)

    def update(commits: Commits, state: State, center: Params) -> Update:
        rate = mixing * weight(commits.staleness, exponent, hinge)
        kept, part = 1 - jnp.sum(rate), weighted_sum(rate, commits.message)
        return Update(jax.tree.map(lambda c, p: kept.astype(c.dtype) * c + p, center, part), state)

    worker = WorkerRule(commit_params, adopt_center, commits="parameters")
    return DistributedOptimizer(worker, ServerRule(stateless, update))
