"""Ways to fold commits into the center."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distopt.optimizers.parts import probes
from distopt.optimizers.parts.worker import commit_params
from distopt.rules import Commits, Message, Params, Reply, ServerRule, State, Update, Window, WorkerRule
from distopt.settings import require_number


def stateless(center: Params, workers: int) -> State:
    """Return the state of a server rule that remembers nothing."""
    del center, workers
    return ()


def mean(message: Message) -> Message:
    """Average over the q commits of an update (leading axis)."""
    return jax.tree.map(lambda m: jnp.mean(m, axis=0), message)


def weighted_sum(weight: jax.Array, message: Message) -> Message:
    """Return Σⱼ wⱼ mⱼ over the q commits of an update; `weight` has shape (q,)."""
    exact = jax.lax.Precision.HIGHEST  # otherwise GPUs round the commits to 10 bits
    return jax.tree.map(lambda m: jnp.tensordot(weight.astype(m.dtype), m, axes=1, precision=exact), message)


def additive(
    tx: optax.GradientTransformation | None = None,
    fold: Callable[[Commits], Any] = lambda commits: jax.tree.map(lambda m: jnp.sum(m, axis=0), commits.message),
    replies: Reply | None = None,
) -> ServerRule:
    """Fold commits into one direction, pass it through an optax transform, and add it: θ̃ ← θ̃ + tx(fold(commits)).

    Args:
        tx: the transform at the server; None adds the direction as it is.
        fold: turns the commits of an update into one direction (default: their sum).
        replies: None: the center; (): nothing, for workers that pull before they commit.
    """
    tx = tx or optax.identity()

    def init(center: Params, workers: int) -> State:
        del workers
        return tx.init(center)

    def update(commits: Commits, state: State, center: Params) -> Update:
        direction, state = tx.update(fold(commits), state, center)
        return Update(optax.apply_updates(center, direction), state, replies)

    return ServerRule(init, update)


def staleness_weighted(weight: Callable[[jax.Array, jax.Array], jax.Array]) -> ServerRule:
    """Add every commit with a weight that depends on its staleness: θ̃ ← θ̃ + Σ w(τ, n) mᵏ.

    Args:
        weight: from τ, int32 of shape (q,), and the number of workers n, int32 of shape (), to weights of shape (q,).
    """

    def update(commits: Commits, workers: State, center: Params) -> Update:
        step = weighted_sum(weight(commits.staleness, workers), commits.message)
        return Update(jax.tree.map(jnp.add, center, step), workers)

    return ServerRule(lambda center, workers: jnp.asarray(workers, jnp.int32), update)


def elastic(rho: float, elastic_learning_rate: float) -> tuple[WorkerRule, ServerRule]:
    """Build the two halves of an atomic elastic exchange, shared by EASGD, AEASGD and EAMSGD.

        Eᵏ = α (θᵏ − θ̃),   θ̃ ← θ̃ + Σₖ Eᵏ,   θᵏ ← θᵏ − Eᵏ,   α = `elastic_learning_rate` · `rho`

    The worker sends θᵏ. The server computes Eᵏ from its present center and replies with it, so that workers in separate
    updates never use the same center. θ̃ + Σₖ θᵏ changes only by gradients.
    """
    require_number("rho", rho, positive=False)
    require_number("elastic_learning_rate", elastic_learning_rate)
    alpha = rho * elastic_learning_rate

    def update(commits: Commits, state: State, center: Params) -> Update:
        difference = jax.tree.map(lambda theta, c: alpha * (theta - c), commits.message, center)
        # A weighted sum: XLA takes several times as long to reduce the leading axis of an array that it also writes.
        total = weighted_sum(jnp.ones(len(commits.worker)), difference)
        center = jax.tree.map(jnp.add, center, total)
        return Update(center, state, replies=difference, metrics={"exchange_sampled": probes.size(difference)})

    def adopt(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
        return jax.tree.map(jnp.subtract, window.end, reply), state

    return WorkerRule(commit_params, adopt, sends="elastic"), ServerRule(stateless, update)
