"""Ensemble training: every worker trains a model of its own, and what is evaluated is their common prediction.

    θᵏ ← θᵏ + Σ U(θᵏ, g)      for each worker by itself;      p(y | x) = (1/n) Σₖ p(y | x; θᵏ)

No parameters are exchanged. A commit tells the server where a member is, so that the ensemble can be evaluated and
kept: one copy of the parameters up per window, nothing down. The bytes are counted; training would not need them, and a
longer window has fewer. Evaluations are of the mean of the members' probabilities, with further columns for the mean of
their logits and the best single member (see `training.evaluation`); `model.npz` has all members, each array with a
leading axis of n. The center stays at the initial parameters. Members start from the same ones and differ by their
batches: each has its own shard, or its own order of all samples with `dataset.partition=shared`.

A member that fails starts over from the initial parameters with what is left of its budget. One that is not finite any
more is kept as it was before.

Source: J. Hermans, dist-keras, class `EnsembleTrainer`.
Differences: dist-keras's trainer reads settings that it never sets, and cannot run. Its members too start from common
parameters and see a partition each, although its documentation says that each sees all data.
"""

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import PARAMETERS
from distopt.rules import (
    Commits,
    DistributedOptimizer,
    Params,
    Reply,
    Result,
    ServerRule,
    State,
    Update,
    Window,
)
from distopt.trees import norms


def ensemble() -> DistributedOptimizer:
    """Build ensemble training with one member per worker."""

    def init(center: Params, workers: int) -> Params:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (workers, *jnp.shape(leaf))), center)

    def update(commits: Commits, members: Params, center: Params) -> Update:
        norm = norms(commits.message)

        def put(member: jax.Array, message: jax.Array) -> jax.Array:
            there = jnp.where(jnp.isfinite(norm), commits.worker, len(member))  # an index beyond the end is dropped
            return member.at[there].set(message, mode="drop")

        return Update(center, jax.tree.map(put, members, commits.message), replies=(), norm=norm)

    worker = PARAMETERS._replace(adopt=_go_on)
    return DistributedOptimizer(worker, ServerRule(init, update), result=Result(lambda members: members, members=True))


def _go_on(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
    """Go on from where the worker is: the reply is empty."""
    del reply
    return window.end, state
