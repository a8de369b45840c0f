"""FedAsync: the server mixes each worker's parameters into the center, with less weight the staler they are.

    θ̃ ← (1 − A) θ̃ + A θᵏ,   A = A₀ w(τ),   θᵏ ← θ̃
    local steps on   L(θ) + (ρ/2) ‖θ − p‖²,   p the center at the start of the window

| weighting | w(τ) |
|---|---|
| `constant` | 1 |
| `polynomial` | (1 + τ)⁻ᵃ |
| `hinge` | 1 if τ ≤ b, else 1 / (a (τ − b) + 1) |

The center moves as in AEASGD with α = A, but the worker goes on from the center instead of staying where it is.

Source: C. Xie, S. Koyejo, I. Gupta, "Asynchronous Federated Optimization", 2019 (arXiv:1903.03934).
Differences: Plato's version multiplies the stored mixing rate itself by the weight, so that the rate decays for ever.
The form of the proximal term was not checked against the paper. The recorded loss is L alone.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import PARAMETERS, stateless, weighted_sum
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, State, Steps, Update
from distopt.settings import require_choice, require_number

#: τ, a, b → w(τ)
WEIGHTS: dict[str, Callable[[jax.Array, float, float], jax.Array]] = {
    "constant": lambda staleness, a, b: jnp.ones(staleness.shape),
    "polynomial": lambda staleness, a, b: (1.0 + staleness) ** -a,
    "hinge": lambda staleness, a, b: 1 / (a * jnp.maximum(staleness - b, 0) + 1),
}


def fedasync(
    *, mixing: float, weighting: str, exponent: float, hinge: float, proximal: float = 0.0
) -> DistributedOptimizer:
    """Build FedAsync.

    Args:
        mixing: 0 < A₀ ≤ 1, the weight of a fresh commit; 1 replaces the center by it.
        weighting: how staleness lowers the weight, a name from the table above.
        exponent: a ≥ 0, how fast staleness lowers the weight.
        hinge: b ≥ 0, the staleness up to which `hinge` keeps the full weight.
        proximal: ρ ≥ 0, how strongly local steps are drawn back to the start of the window.
    """
    require_number("mixing", mixing, most=1)
    require_number("exponent", exponent, positive=False)
    require_number("hinge", hinge, positive=False)
    require_number("proximal", proximal, positive=False)
    weight = require_choice("weighting", weighting, WEIGHTS)

    def update(commits: Commits, state: State, center: Params) -> Update:
        rate = mixing * weight(commits.staleness, exponent, hinge)
        kept, part = 1 - jnp.sum(rate), weighted_sum(rate, commits.message)
        return Update(jax.tree.map(lambda c, p: kept.astype(c.dtype) * c + p, center, part), state)

    def draw_back(gradient: Params, params: Params, start: Params) -> Params:
        return jax.tree.map(lambda g, theta, p: g + proximal * (theta - p), gradient, params, start)

    correct = draw_back if proximal else None
    worker = PARAMETERS._replace(steps=Steps(correct=correct))
    return DistributedOptimizer(worker, ServerRule(stateless, update))
