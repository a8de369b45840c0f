"""GEM, gradient energy matching: workers together move the center as fast as one process with momentum would.

    worker:  D = Δθᵏ,   m ← μ m + D,   θ̃ ← pull,   π = (κ |m| − |θ̃ − sᵏ|) / (|D| + ε),   commit π ⊙ D,   sᵏ ← θ̃
    server:  θ̃ ← θ̃ + π ⊙ D

elementwise; sᵏ is the center that worker k pulled last. κ |m| is the velocity of the sequential process that is to be
matched. The movement of the center since the last pull counts towards it, and the worker commits only the rest:
nothing, with π ≥ 0, where the other workers were fast enough.

| | official code | paper |
|---|---|---|
| π | in [0, `most`], `most=5` | as it is (`most=null`) |
| next gradient | at θ̃ + π ⊙ D (`ahead=true`) | at θ̃ (`ahead=false`) |

A negative π reverses a step where the other workers were too fast; several workers that brake at once may diverge.

Source: J. Hermans, G. Louppe, "Gradient Energy Matching for Distributed Asynchronous Gradient Descent", 2018
(arXiv:1805.08469), algorithm 1; the authors' code.
Differences: D is the local optimizer's update over a window; the paper's is −ηg, plain SGD and a window of 1. The
authors' server handles pull and commit of a worker together; here others may commit in between, which is staleness.
Their code adds ε = 1e-12 to D before it takes the absolute value; the paper's ε is 1e-16. Between two pulls the center
also moves by the worker's own commit, and |θ̃ − sᵏ| contains that, as in the original.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import additive
from distopt.rules import DistributedOptimizer, Message, Params, Reply, State, Window, WorkerRule
from distopt.settings import require_flag, require_number


class Energy(NamedTuple):
    """State of a worker: what it knows of the process it is to match."""

    momentum: Params  # m
    seen: Params  # sᵏ
    step: Params  # π ⊙ D, its last commit; () if it does not look ahead


def gem(*, kappa: float, momentum: float, eps: float, most: float | None, ahead: bool) -> DistributedOptimizer:
    """Build GEM.

    Args:
        kappa: κ ≥ 0, the velocity to match, in units of the velocity of momentum SGD; 1 to 3 work in the paper, 4
            diverges.
        momentum: 0 ≤ μ < 1 of the process to be matched.
        eps: ε > 0, against division by zero.
        most: the largest π, > 0; the smallest is then 0. None does not clamp π.
        ahead: take the next gradients at the pulled center plus the worker's own commit.
    """
    require_number("kappa", kappa, positive=False)
    require_number("momentum", momentum, positive=False, most=1, below=True)
    require_number("eps", eps)
    if most is not None:
        require_number("most", most)
    require_flag("ahead", ahead)

    def init(params: Params) -> Energy:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Energy(zeros, params, zeros if ahead else ())

    def commit(window: Window, state: Energy) -> tuple[Message, Energy]:
        delta = jax.tree.map(jnp.subtract, window.end, window.start)
        matched = jax.tree.map(lambda m, d: momentum * m + d, state.momentum, delta)

        def scaled(d: jax.Array, m: jax.Array, c: jax.Array, s: jax.Array) -> jax.Array:
            pi = (kappa * jnp.abs(m) - jnp.abs(c - s)) / (jnp.abs(d) + eps)
            return (pi if most is None else jnp.clip(pi, 0, most)) * d

        step = jax.tree.map(scaled, delta, matched, window.center, state.seen)
        return step, Energy(matched, window.center, step if ahead else ())

    def adopt(reply: Reply, window: Window, state: Energy) -> tuple[Params, State]:
        del reply
        return jax.tree.map(jnp.add, window.center, state.step) if ahead else window.center, state

    def rejoin(center: Params, state: Energy) -> Energy:
        return state._replace(seen=center)

    worker = WorkerRule(commit, adopt, init, sends="delta", pull=True, rejoin=rejoin)
    return DistributedOptimizer(worker, additive(replies=()))
