"""Ensemble training: every worker trains its own model, and the mean of their predictions is evaluated.

    θᵏ ← θᵏ + Σ U(θᵏ, g)      for each worker by itself;      p(y | x) = (1/n) Σₖ p(y | x; θᵏ)

Members do not exchange parameters. A commit sends a member's parameters to the server, which evaluates and saves the
ensemble: one copy of the parameters up per window, nothing down. These bytes are counted although training does not
need them; a longer window has fewer. Evaluations are of the mean of the members' probabilities, with further columns
for the mean of their logits and the best single member (see `training.evaluation`). `model.npz` holds all members, each
array with a leading axis of n. The center stays at the initial parameters. Members start from the same parameters and
differ by their batches: each has its own shard, or with `dataset.partition=shared` its own order of all samples.

A member that fails starts over from the initial parameters with the rest of its budget. A commit that is not finite is
not stored: the server keeps the member's last finite parameters.

Source: J. Hermans, dist-keras, class `EnsembleTrainer`.
Differences: dist-keras's trainer reads settings that it never sets, and cannot run. Its members also start from common
parameters and see one partition each, although its documentation says that each sees all data.
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
            there = jnp.where(jnp.isfinite(norm), commits.worker, len(member))  # beyond the end: `at` drops the write
            return member.at[there].set(message, mode="drop")

        return Update(center, jax.tree.map(put, members, commits.message), replies=(), norm=norm)

    worker = PARAMETERS._replace(adopt=_go_on)
    return DistributedOptimizer(worker, ServerRule(init, update), result=Result(lambda members: members, members=True))


def _go_on(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
    """Go on from the worker's own parameters: the reply is empty."""
    del reply
    return window.end, state
