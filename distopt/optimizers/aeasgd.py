"""AEASGD, asynchronous elastic averaging: each worker exchanges with the center whenever its window ends.

    Eᵏ = α (θᵏ − θ̃),   θ̃ ← θ̃ + Eᵏ,   θᵏ ← θᵏ − Eᵏ

    atomic=true:   the worker commits θᵏ; the server computes Eᵏ from its center and replies with it
    atomic=false:  the worker pulls θ̃, computes Eᵏ itself and commits it: two messages, as in the thesis

On a quadratic with 0 ≤ ηh ≤ 2 the atomic exchange is stable for 0 ≤ α ≤ 1, for any number and order of workers: steps
and exchanges are matrices of norm at most 1. With two messages q exchanges may overlap. If all q use the same center,
the bound of the synchronous exchange holds for n = q, at least 2 / (q + 1): with small learning rates α = 1 is unstable
as soon as two overlap. If they overlap as in a pipeline, each using the center of q − 1 commits ago, the bound is
lower. For q = n workers in round robin it is about that of Downpour, 2 s with s = sin(π / (2 (2n − 1))). Small learning
rates lower it a little, to 2 s / (1 + s) at least: 0.0395 for n = 40. Either way θ̃ + Σₖ θᵏ changes only by gradients.

Source: Zhang, Choromanska, LeCun 2015, algorithm 1; Hermans 2017, equations 2.15 and 2.16, algorithm 9.
Differences: in dist-keras pull and commit are two messages, `atomic=false`. Large ρ pulls harder towards the center;
dist-keras's documentation says the opposite. The paper applies gradient and exchange at once, which is stable in round
robin iff α ≤ (4 − 2a) / (4 − a) with a = ηh.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import additive, elastic, until_equilibrium
from distopt.rules import DistributedOptimizer, Message, Params, Reply, State, Window, WorkerRule
from distopt.settings import require_flag


def aeasgd(
    *,
    rho: float,
    elastic_learning_rate: float,
    atomic: bool = True,
    equilibrium: str = "none",
    tolerance: float = 0.0,
) -> DistributedOptimizer:
    """Build AEASGD.

    Args:
        rho: ρ ≥ 0, elasticity; small values let workers explore further from the center.
        elastic_learning_rate: η of the elastic force, > 0; α = ηρ. Not the local optimizer's rate.
        atomic: exchange in one message and its reply; False: pull, then commit.
        equilibrium: test that ends a window early where gradient and elastic force cancel, `thesis` or `relative`;
            `none`: after λ steps. Needs `atomic`.
        tolerance: ε ≥ 0 of the relative test.
    """
    require_flag("atomic", atomic)
    worker, server = elastic(rho, elastic_learning_rate)
    alpha = rho * elastic_learning_rate
    if not atomic:
        if equilibrium != "none":
            raise ValueError(f"equilibrium={equilibrium} needs atomic=true, whose replies tell workers of the center")
        worker, server = pulling(alpha), additive(replies=())
    worker = until_equilibrium(worker, rho, elastic_learning_rate, equilibrium, tolerance)
    return DistributedOptimizer(worker, server, warnings=warnings(alpha, atomic))


def pulling(alpha: float) -> WorkerRule:
    """Return the worker's half of an elastic exchange in two messages: pull θ̃, commit Eᵏ = α (θᵏ − θ̃)."""

    def difference(window: Window) -> Params:
        return jax.tree.map(lambda theta, c: alpha * (theta - c), window.end, window.center)

    def commit(window: Window, state: State) -> tuple[Message, State]:
        return difference(window), state

    def adopt(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
        del reply
        return jax.tree.map(jnp.subtract, window.end, difference(window)), state

    return WorkerRule(commit, adopt, sends="difference", pull=True)


def warnings(alpha: float, atomic: bool = True) -> Callable[[int, int], list[str]]:
    """Return a check of α; shared with EAMSGD."""

    def check(workers: int, window: int) -> list[str]:
        del window
        late = math.sin(math.pi / (2 * (2 * workers - 1)))
        if not atomic and alpha > (bound := 2 * late / (1 + late)):  # never above 2 / (n + 1)
            return [
                f"alpha = rho * elastic_learning_rate = {alpha:.3g} is above 2 s / (1 + s) = {bound:.3g} with "
                f"s = sin(pi / (2 (2n - 1))): with atomic=false the exchange can be unstable when the messages of all "
                f"n={workers} workers overlap (quadratic, small learning rate); atomic=true keeps them apart"
            ]
        if alpha <= 1:
            return []
        return [
            f"alpha = rho * elastic_learning_rate = {alpha:.3g} is above 1: workers and center pass each other, "
            "and where learning rates are small the exchange is unstable (quadratic)"
        ]

    return check
