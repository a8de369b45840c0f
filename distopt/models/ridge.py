"""The penalty of ridge regression on a model's kernels."""

from collections.abc import Callable

import jax
import optax

from distopt.rules import Params
from distopt.settings import require_number


def ridge(l2: float) -> Callable[[Params], jax.Array] | None:
    """Return θ ↦ λ/2 Σ ‖W‖² over the kernels W, with λ = `l2`; None for λ = 0. Intercepts are not penalised.

    Raises:
        ValueError: λ is negative or no number.
    """
    require_number("model.l2", l2, positive=False)
    if not l2:
        return None

    def penalty(params: Params) -> jax.Array:
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return l2 / 2 * optax.tree.norm([leaf for path, leaf in leaves if path[-1].key == "kernel"], squared=True)

    return penalty
