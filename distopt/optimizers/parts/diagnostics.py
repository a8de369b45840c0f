"""Diagnostics that are recorded only on request, because they cost the server passes over memory.

| `diagnostics=[...]` | column | value |
|---|---|---|
| `progress` | `progress_cosine` | cos(D, θ̃ − pᵏ): whether a commit points where the center went in the meantime |

pᵏ is the center that worker k pulled. D is the direction of its commit in descent sign: the updates of a delta, −g of a
gradient, θᵏ − pᵏ of parameters and θᵏ − θ̃ of an elastic exchange. NaN where the center has not moved.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from distopt.rules import CommitKind, Commits, DistributedOptimizer, Params, State, Update
from distopt.trees import norms

#: leaf by leaf: messages and pulled centers (both with a leading axis q), center → D
DIRECTIONS: Mapping[CommitKind, Callable[[jax.Array, jax.Array, jax.Array], jax.Array]] = {
    "delta": lambda message, pulled, center: message,
    "difference": lambda message, pulled, center: message,
    "gradient": lambda message, pulled, center: -message,
    "parameters": lambda message, pulled, center: message - pulled,
    "elastic": lambda message, pulled, center: message - center,
}
NAMES = ("progress",)


def observed(optimizer: DistributedOptimizer, names: Sequence[str] | None) -> DistributedOptimizer:
    """Return the optimizer with further metrics of each commit, otherwise unchanged.

    Raises:
        ValueError: unknown names, or commits without a direction, see `WorkerRule.sends`.
    """
    if names is None or names == []:
        return optimizer
    if not isinstance(names, list) or not all(name in NAMES for name in names):
        raise ValueError(f"{names} must be a list of some of {', '.join(NAMES)}, or null")
    kind, server = optimizer.worker.sends, optimizer.server
    if kind is None:
        raise ValueError("it does not say what its workers send; its author sets `WorkerRule.sends`")
    if kind not in DIRECTIONS:
        raise ValueError(f"its workers send {kind}, which point nowhere; set diagnostics=null")
    direction = DIRECTIONS[kind]

    def update(commits: Commits, state: State, center: Params) -> Update:
        result = server.update(commits, state, center)
        towards = jax.tree.map(direction, commits.message, commits.pulled, center)
        progress = jax.tree.map(jnp.subtract, center, commits.pulled)
        cosine = _dot(towards, progress) / (norms(towards) * norms(progress))
        return result._replace(metrics={**result.metrics, "progress_cosine": cosine})

    return optimizer._replace(server=server._replace(update=update))


def _dot(a: Any, b: Any) -> jax.Array:
    """Return ⟨a, b⟩ over all leaves for each entry of the leading axis, shape (q,)."""
    products = jax.tree.map(lambda x, y: jnp.sum((x * y).reshape(x.shape[0], -1), axis=1), a, b)
    return sum(jax.tree.leaves(products), start=jnp.zeros(()))
