"""Asynchronous DiLoCo with delayed Nesterov: the server applies commits at once and refreshes momentum every N commits.

    every commit, P = −Δθᵏ:     B ← B + P
    N-th commit:                v ← μ v + B / N,   θ̃ ← θ̃ − ηₛ ((1 − c N + c) μ v + P / N),   B ← 0
    other commits:                                 θ̃ ← θ̃ − ηₛ (c μ v + P / N)
    θᵏ ← θ̃

Asynchronous Nesterov fails because its momentum takes stale updates one by one; the mean of N is less noisy. c =
`spread` / N is the part of the momentum's step that each of the other commits takes: nothing at `spread=0`, an equal
part at every commit at `spread=1`. With `spread=0` N commits move the center by −ηₛ (mean P + μ v) together. N = 1 is
Nesterov momentum.

Dynamic local updates give slower workers shorter windows, so that all workers commit about equally often:

    λₖ = max(1, ⌊λ vₖ / max v⌋),      vₖ the worker's local steps per second

Source: B. Liu et al., "Asynchronous Local-SGD Training for Language Modeling", 2024 (arXiv:2401.09135).
Differences: the paper treats commits that arrive almost together as one, and lets each worker train next on the shard
least visited so far; here a worker keeps its shard. The weight √n / n · (1 + τ)^(−1/2) of a commit, an option in the
authors' notebook, is left out. Speeds are measured before training; in virtual time they come from the cluster model.
Measured speeds are never exactly equal, so windows of equally fast workers may differ by a step. Forgather applies the
full P at every commit and then the buffer again, so that updates count twice. When training ends between two
refreshments, B is discarded: its commits have already moved the center.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import DELTA
from distopt.rules import Commits, DistributedOptimizer, Params, Planned, ServerRule, Steps, Update
from distopt.settings import require_flag, require_number, require_whole


class DelayedNesterov(NamedTuple):
    """State of the server; velocity and buffer in descent sign."""

    velocity: Params  # −v
    buffer: Params  # −B
    since: jax.Array  # commits since the velocity was refreshed, int32, shape ()
    period: jax.Array  # N, int32, shape ()


def async_diloco(
    *, learning_rate: float, momentum: float, period: int | None, spread: float, dynamic: bool = False
) -> DistributedOptimizer:
    """Build asynchronous DiLoCo.

    Args:
        learning_rate: ηₛ > 0 of the outer optimizer.
        momentum: 0 ≤ μ < 1 of the outer optimizer.
        period: N ≥ 1, commits per refreshment of the momentum; None: the number of workers.
        spread: 0 ≤ c N ≤ 1, the part of the momentum's step that is spread over all N commits.
        dynamic: give slower workers shorter windows (dynamic local updates); λ is then the window of the fastest
            worker.
    """
    require_number("learning_rate", learning_rate)
    require_number("momentum", momentum, positive=False, most=1, below=True)
    require_whole("period", period, optional=True)
    require_number("spread", spread, positive=False, most=1)
    require_flag("dynamic", dynamic)

    def init(center: Params, workers: int) -> DelayedNesterov:
        velocity, buffer = (jax.tree.map(jnp.zeros_like, center) for _ in range(2))
        return DelayedNesterov(velocity, buffer, jnp.zeros((), jnp.int32), jnp.asarray(period or workers, jnp.int32))

    def update(commits: Commits, state: DelayedNesterov, center: Params) -> Update:
        delta = jax.tree.map(lambda m: jnp.sum(m, axis=0), commits.message)
        buffer = jax.tree.map(jnp.add, state.buffer, delta)
        since, n = state.since + 1, state.period
        due = since >= n
        velocity = jax.tree.map(lambda v, b: jnp.where(due, momentum * v + b / n, v), state.velocity, buffer)
        share = momentum * jnp.where(due, 1 - spread + spread / n, spread / n)
        center = jax.tree.map(lambda c, v, d: c + learning_rate * (share * v + d / n), center, velocity, delta)
        rest = jax.tree.map(lambda b: jnp.where(due, jnp.zeros_like(b), b), buffer)
        return Update(center, DelayedNesterov(velocity, rest, jnp.where(due, 0, since), n))

    worker = DELTA._replace(steps=Steps(until=Planned(proportional))) if dynamic else DELTA
    return DistributedOptimizer(worker, ServerRule(init, update))


def proportional(window: int, sequence: int, speed: float) -> int:
    """Return the steps that a worker of this relative speed takes in the time of λ steps of the fastest worker."""
    del sequence
    # Speeds are quotients: a product that should be a whole number may be one bit below it.
    return max(1, math.floor(window * speed + 1e-9))
