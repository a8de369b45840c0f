"""Small helpers for pytrees of arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SAMPLED_WEIGHTS = 1024  # metrics look at every (d / 1024)-th weight: all of them would cost more than the update


def named(tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a pytree as NumPy arrays, named by their path, e.g. `Dense_0/kernel`."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def unnamed(arrays: Mapping[str, np.ndarray], like: Any) -> Any:
    """Return the pytree of which `named` made the arrays; `like` has its structure."""
    leaves, structure = jax.tree.flatten_with_path(like)
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    return jax.tree.unflatten(structure, [arrays[name] for name in names])


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
