"""Keeps the center finite: an update leaves out commits that are not finite.

Such a commit keeps its place: versions, quorums and staleness count it as applied, so it does not change the order of
commits. An update with no commit left adds nothing to the center.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distopt.rules import Message, Params, State


class Sifted(NamedTuple):
    """An update without its commits that are not finite."""

    folded: Any  # `distopt.training.update.Folded` of the kept commits; None: no commit was kept
    kept: list[int]  # places of the kept commits among all of the update
    measured: dict[str, Any]  # of all commits, shape (q,); NaN where there is nothing to measure


def sift(
    fold: Callable[..., Any],
    center: Params,
    state: State,
    messages: Sequence[Message],
    loss: Sequence[Any],
    who: np.ndarray,
    staleness: np.ndarray,
    pulled: list[Params] | None,
) -> Sifted:
    """Fold the finite commits of an update; fold none if the center would not be finite.

    Args:
        fold: the program of `distopt.training.update.compile_fold`.
        center: θ̃.
        state: of the server rule; it is copied, because `fold` donates it.
        messages: of the q committers; None for one that is left out in any case.
        loss: of their windows.
        who: the committers, shape (q,).
        staleness: of their commits, shape (q,).
        pulled: the centers they pulled; None: all of them `center`.
    """
    measured: dict[str, Any] = {"commit_norm": np.full(len(who), np.nan)}
    finite = [math.isfinite(value) for value in jax.device_get(list(loss))]
    tried = [i for i, message in enumerate(messages) if message is not None]
    while tried:
        some = [messages[i] for i in tried]
        seen = None if pulled is None else [pulled[i] for i in tried]
        folded = fold(center, jax.tree.map(jnp.array, state), some, who[tried], staleness[tried], seen)
        for name, values in {"commit_norm": folded.norm, **folded.update.metrics}.items():
            measured.setdefault(name, np.full(len(who), np.nan))[tried] = np.asarray(values)
        good = [i for i in tried if finite[i] and math.isfinite(measured["commit_norm"][i])]
        if good == tried:
            if is_finite(folded.update.center):
                return Sifted(folded, tried, measured)
            good = []
        tried = good
    return Sifted(None, [], measured)


@jax.jit
def _is_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def is_finite(tree: Any) -> bool:
    """Return whether all numbers in the leaves of a pytree are finite."""
    return bool(_is_finite(tree))
