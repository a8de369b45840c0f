"""The penalty of ridge regression."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from distopt.rules import Params
from distopt.settings import require_number


def kernels(params: Params) -> list[jax.Array]:
    """Return the kernels of a Flax module, without its intercepts."""
    return [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params) if path[-1].key == "kernel"]


def ridge(l2: float, of: Callable[[Params], Any] = kernels) -> Callable[[Params], jax.Array] | None:
    """Return θ ↦ λ/2 Σ ‖W‖² over the arrays W that `of` takes from the parameters, λ = `l2`; None for λ = 0.

    Raises:
        ValueError: λ is negative or no number.
    """
    require_number("model.l2", l2, positive=False)
    if not l2:
        return None

    def penalty(params: Params) -> jax.Array:
        return l2 / 2 * optax.tree.norm(of(params), squared=True)

    return penalty
