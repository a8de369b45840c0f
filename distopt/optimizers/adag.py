"""ADAG: AGN's commits, scaled by how far the center has moved since the worker pulled it.

    θ̃ ← θ̃ + s ⊙ Δθᵏ / λ,      θᵏ ← θ̃

| form | s | source |
|---|---|---|
| `weight` | 1 / ((θ̃ − pᵏ)² / γ + 1), elementwise | Hermans 2017, equations 4.7 to 4.9 as run; dist-keras |
| `norm` | 1 / (‖θ̃ − pᵏ‖² / γ + 1), one scalar | Hermans 2017, equations 4.1 and 4.7 as printed |
| `squared` | 1 / (((θ̃ − pᵏ) / γ)² + 1), elementwise | Hermans 2017, equation 4.10, not tried there |

pᵏ is the center that worker k pulled. What did not move keeps its full step (s = 1).

Source: Hermans 2017, chapter 4, algorithm 12 (the server remembers what each worker pulled).
Differences: the thesis writes a norm but scales per weight, as does dist-keras, whose class `Experimental` is this
method (its class `ADAG` is AGN). γ is a squared distance per weight, a squared distance of all weights together, and a
distance per weight in the three forms: one value does not suit them all.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from distopt.optimizers.agn import warnings
from distopt.optimizers.parts import (
    adopt_center,
    commit_mean_delta,
    require_choice,
    require_number,
    sample,
    scale_metrics,
    stateless,
)
from distopt.rules import Commits, DistributedOptimizer, Params, ServerRule, State, Update, WorkerRule

#: from θ̃ − pᵏ of some weights, ‖θ̃ − pᵏ‖² of all of them, and γ
FORMS: dict[str, Callable[[jax.Array, jax.Array, float], jax.Array]] = {
    "weight": lambda moved, distance, gamma: 1 / (moved**2 / gamma + 1),
    "norm": lambda moved, distance, gamma: 1 / (distance / gamma + 1),
    "squared": lambda moved, distance, gamma: 1 / ((moved / gamma) ** 2 + 1),
}


def adag(*, gamma: float, form: str = "weight") -> DistributedOptimizer:
    """Build ADAG.

    Args:
        gamma: γ > 0, how far the center moves until a step is halved, as in the table above. Large values give AGN.
        form: `weight`, `norm` or `squared`.
    """
    require_number("gamma", gamma)
    form_of_scale = require_choice("form", form, FORMS)

    def update(commits: Commits, state: State, center: Params) -> Update:
        distance = _squared_norm(jax.tree.map(jnp.subtract, center, commits.pulled))  # not computed where not used

        def scale(c: jax.Array, p: jax.Array) -> jax.Array:
            return form_of_scale(c - p, distance.reshape(-1, *[1] * (p.ndim - 1)), gamma)

        step = jax.tree.map(lambda c, p, m: jnp.sum(scale(c, p) * m, axis=0), center, commits.pulled, commits.message)
        sampled = scale(sample(jax.tree.map(lambda c: c[None], center)), sample(commits.pulled))
        return Update(jax.tree.map(jnp.add, center, step), state, metrics=scale_metrics(sampled))

    return DistributedOptimizer(
        WorkerRule(commit_mean_delta, adopt_center, commits="delta"), ServerRule(stateless, update), warnings=warnings
    )


def _squared_norm(tree: Params) -> jax.Array:
    """Return ‖·‖² over all leaves for each entry of the leading axis, shape (q,)."""
    squares = [jnp.sum(leaf.reshape(leaf.shape[0], -1) ** 2, axis=1) for leaf in jax.tree.leaves(tree)]
    return jnp.sum(jnp.stack(squares), axis=0)
