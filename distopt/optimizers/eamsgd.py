"""EAMSGD, elastic averaging with Nesterov momentum: workers look ahead; the elastic exchange does not change momentum.

    local step:  vᵏ ← μ vᵏ + U(xᵏ + μ vᵏ),   xᵏ ← xᵏ + vᵏ,      U(x) = −η ∇L(x) for local SGD
    exchange:    Eᵏ = α (xᵏ − θ̃),            θ̃ ← θ̃ + Σₖ Eᵏ,     xᵏ ← xᵏ − Eᵏ

A worker's parameters are the point it looks ahead to, θᵏ = xᵏ + μ vᵏ, where the gradient is taken; it sends xᵏ = θᵏ − μ
vᵏ. In terms of θᵏ a local step is θᵏ ← θᵏ + U(θᵏ) + μ vᵏ with the new vᵏ. μ = 0 gives EASGD and AEASGD.

Source: Zhang, Choromanska, LeCun 2015, section 3.
Differences: the gradient step U is that of the configured local optimizer; the paper's is plain SGD. The asynchronous
exchange is one message and its reply after λ steps; AEASGD's two messages and its stop at equilibrium are not available
with momentum. dist-keras's `EAMSGDWorker` looks ahead in the wrong direction and multiplies by the learning rate twice.
`local.on_pull=reset` is refused, because θᵏ means nothing without vᵏ.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distopt.optimizers import aeasgd, easgd
from distopt.optimizers.parts import elastic
from distopt.rules import ASYNCHRONOUS, BARRIER, DistributedOptimizer, Message, Params, State, Window
from distopt.settings import require_flag, require_number


class Momentum(NamedTuple):
    """State of a local optimizer with Nesterov momentum on top."""

    velocity: Params  # v
    inner: optax.OptState


def eamsgd(
    *,
    local: optax.GradientTransformation,
    rho: float,
    elastic_learning_rate: float,
    momentum: float,
    synchronous: bool,
) -> DistributedOptimizer:
    """Build EAMSGD.

    Args:
        local: the configured local optimizer; it takes the gradient steps U.
        rho: ρ ≥ 0, elasticity.
        elastic_learning_rate: η of the elastic force, > 0; α = ηρ.
        momentum: 0 ≤ μ < 1.
        synchronous: exchange behind a barrier, as EASGD; False: one worker at a time, as AEASGD.
    """
    require_number("momentum", momentum, positive=False, most=1, below=True)
    require_flag("synchronous", synchronous)
    worker, server = elastic(rho, elastic_learning_rate)

    def commit(window: Window, state: State) -> tuple[Message, State]:
        return jax.tree.map(lambda theta, v: theta - momentum * v, window.end, window.local.velocity), state

    family = easgd if synchronous else aeasgd
    return DistributedOptimizer(
        worker._replace(commit=commit),
        server,
        BARRIER if synchronous else ASYNCHRONOUS,
        local=nesterov(local, momentum),
        warnings=family.warnings(rho * elastic_learning_rate),
    )


def nesterov(local: optax.GradientTransformation, momentum: float) -> optax.GradientTransformation:
    """Return a local optimizer with Nesterov momentum on top: v ← μ v + U, θ ← θ + U + μ v."""

    def init(params: Params) -> Momentum:
        return Momentum(jax.tree.map(jnp.zeros_like, params), local.init(params))

    def update(gradient: Params, state: Momentum, params: Params | None = None, **more: Any) -> tuple[Params, Momentum]:
        step, inner = optax.with_extra_args_support(local).update(gradient, state.inner, params, **more)
        velocity = jax.tree.map(lambda v, u: momentum * v + u, state.velocity, step)
        return jax.tree.map(lambda u, v: u + momentum * v, step, velocity), Momentum(velocity, inner)

    return optax.GradientTransformationExtraArgs(init, update)
