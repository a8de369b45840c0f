"""When an elastic worker has gone as far from the center as its gradient carries it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from distopt.rules import Judged, Params, Reply, State, Steps, Window, WorkerRule
from distopt.settings import require_choice, require_number

Test = Callable[[jax.Array, jax.Array, float], jax.Array]

TESTS: dict[str, Test | None] = {
    "none": None,
    "thesis": lambda gradient, pull, tolerance: gradient - pull < 1,
    "relative": lambda gradient, pull, tolerance: gradient < (1 + tolerance) * pull,
}


def until_equilibrium(
    worker: WorkerRule, rho: float, elastic_learning_rate: float, test: str, tolerance: float
) -> WorkerRule:
    """Let an elastic worker exchange early where gradient and elastic force cancel: the steps that follow are useless.

        none:       never before λ steps
        thesis:     ‖ηg‖ − ‖ηρ (θᵏ − θ̃)‖ < η
        relative:   ‖g‖ < (1 + ε) ρ ‖θᵏ − θ̃‖

    g is the gradient of the last step and θ̃ the center that the worker met at its last exchange, θᵏ − E / α. The
    thesis's test is ‖g‖ − ρ‖θᵏ − θ̃‖ < 1: not free of scale, and true after every step where ‖g‖ < 1. Both cost two
    norms per step, and a copy of the center in every worker.

    Source: Hermans 2017, equations 2.6 to 2.10; the relative test is ours.

    Args:
        worker: the worker's half of an elastic exchange.
        rho: ρ, elasticity.
        elastic_learning_rate: η of the elastic force.
        test: none, thesis or relative.
        tolerance: ε ≥ 0 of the relative test.

    Raises:
        ValueError: no such test, or one without an elastic force.
    """
    reached = require_choice("equilibrium", test, TESTS)
    require_number("tolerance", tolerance, positive=False)
    if reached is None:
        return worker
    if rho == 0:
        raise ValueError(f"equilibrium={test} needs rho > 0: without an elastic force there is nothing to balance")
    alpha = rho * elastic_learning_rate

    def ends(window: Window, gradient: Params, center: State) -> jax.Array:
        pull = rho * _norm(jax.tree.map(jnp.subtract, window.end, center))
        return reached(_norm(gradient), pull, tolerance)

    def adopt(reply: Reply, window: Window, center: State) -> tuple[Params, State]:
        params, _ = worker.adopt(reply, window, ())
        return params, jax.tree.map(lambda theta, e: theta - e / alpha, window.end, reply)

    def rejoin(center: Params, state: State) -> State:
        del state
        return center

    return worker._replace(init=lambda params: params, adopt=adopt, steps=Steps(until=Judged(ends)), rejoin=rejoin)


def _norm(tree: Params) -> jax.Array:
    """Return ‖·‖₂ over all leaves."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))
