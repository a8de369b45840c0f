"""Small helpers for pytrees of arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SAMPLED_WEIGHTS = 1024  # metrics look at every (d / 1024)-th weight: all of them would cost more than the update


def paths(tree: Any) -> list[str]:
    """Return the names of the leaves of a pytree, in order, e.g. `Dense_0/kernel`."""
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree.leaves_with_path(tree)]


def named(tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a pytree as NumPy arrays, named by their path."""
    return dict(zip(paths(tree), map(np.asarray, jax.tree.leaves(tree)), strict=True))


def unnamed(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """Return the pytree of which `named` made the arrays; `like` has its structure."""
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in paths(like)])


def is_key(leaf: Any) -> bool:
    """Return whether a leaf, an array or its shape, holds random keys, whose values are `jax.random.key_data`."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def tree_bytes(tree: Any) -> int:
    """Return the bytes that the leaves of a pytree of arrays (or of their shapes) take on the wire."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def norms(tree: Any) -> jax.Array:
    """Return ‖·‖₂ over all leaves, for each entry of the leading axis, shape (q,)."""
    leaves = [leaf.reshape(leaf.shape[0], -1).astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf), axis=1) for leaf in leaves))


def sample(tree: Any) -> jax.Array:
    """Return about `SAMPLED_WEIGHTS` evenly spaced weights of a tree with a leading axis q, shape (q, weights)."""
    leaves = [leaf.reshape(leaf.shape[0], -1) for leaf in jax.tree.leaves(tree)]
    stride = -(-sum(leaf.shape[1] for leaf in leaves) // SAMPLED_WEIGHTS)
    return jnp.concatenate([leaf[:, ::stride] for leaf in leaves], axis=1)
