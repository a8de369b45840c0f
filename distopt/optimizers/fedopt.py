"""FedOpt, adaptive federated optimization: the mean of the workers' updates is a gradient for Adam, Yogi or Adagrad.

    Δ = (1/n) Σₖ Δθᵏ,   m ← β₁ m + (1 − β₁) Δ,   θ̃ ← θ̃ + ηₛ m / (√v + ε),   θᵏ ← θ̃

    adam:     v ← β₂ v + (1 − β₂) Δ²
    yogi:     v ← v − (1 − β₂) Δ² sign(v − Δ²)
    adagrad:  v ← v + Δ²

Unlike in Adam, the moments are not corrected for their bias.

Source: S. Reddi et al., "Adaptive Federated Optimization", 2021 (arXiv:2003.00295), algorithm 2.
Differences: all workers take part in every round and have equal weights, as their shards have equal sizes. v starts at
`initial_accumulator_value`: the paper takes ε² or more, Flower 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distopt.optimizers.parts import DELTA, additive, mean
from distopt.rules import BARRIER, DistributedOptimizer, Params
from distopt.settings import require_choice, require_number

#: v, Δ², β₂ → new v
SECOND_MOMENTS: dict[str, Callable[[jax.Array, jax.Array, float], jax.Array]] = {
    "adam": lambda v, square, b2: b2 * v + (1 - b2) * square,
    "yogi": lambda v, square, b2: v - (1 - b2) * square * jnp.sign(v - square),
    "adagrad": lambda v, square, b2: v + square,
}


class Moments(NamedTuple):
    """State of the server's optimizer."""

    first: Params  # m
    second: Params  # v


def fedopt(*, server: Mapping[str, Any]) -> DistributedOptimizer:
    """Build FedOpt.

    Args:
        server: `name` (adam, yogi or adagrad), `learning_rate` ηₛ, `b1`, `b2` (not used by adagrad), `eps` and
            `initial_accumulator_value` (the first v).
    """
    tx = adaptive(**server)
    rule = additive(tx, fold=lambda commits: mean(commits.message))
    return DistributedOptimizer(DELTA, rule, BARRIER)


def adaptive(
    *, name: str, learning_rate: float, b1: float, b2: float, eps: float, initial_accumulator_value: float
) -> optax.GradientTransformation:
    """Return the server's optimizer, which turns Δ into the step of the center; settings as in `fedopt`."""
    moment = require_choice("server.name", name, SECOND_MOMENTS)
    require_number("server.learning_rate", learning_rate)
    require_number("server.b1", b1, positive=False, most=1, below=True)
    require_number("server.b2", b2, positive=False, most=1)
    require_number("server.eps", eps)
    require_number("server.initial_accumulator_value", initial_accumulator_value, positive=False)

    def init(params: Params) -> Moments:
        first = jax.tree.map(jnp.zeros_like, params)
        return Moments(first, jax.tree.map(lambda p: jnp.full_like(p, initial_accumulator_value), params))

    def update(delta: Params, state: Moments, params: Params | None = None) -> tuple[Params, Moments]:
        del params
        first = jax.tree.map(lambda m, d: b1 * m + (1 - b1) * d, state.first, delta)
        second = jax.tree.map(lambda v, d: moment(v, d**2, b2), state.second, delta)
        step = jax.tree.map(lambda m, v: learning_rate * m / (jnp.sqrt(v) + eps), first, second)
        return step, Moments(first, second)

    return optax.GradientTransformation(init, update)
