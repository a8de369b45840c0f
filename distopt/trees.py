"""Small helpers for pytrees of arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def named(tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a pytree as NumPy arrays, named by their path, e.g. `Dense_0/kernel`."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def tree_bytes(tree: Any) -> int:
    """Return the bytes that the leaves of a pytree of arrays (or of their shapes) take on the wire."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def norms(tree: Any) -> jax.Array:
    """Return ‖·‖₂ over all leaves, for each entry of the leading axis, shape (q,)."""
    leaves = [leaf.reshape(leaf.shape[0], -1).astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf), axis=1) for leaf in leaves))
