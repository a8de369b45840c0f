"""Probes: numbers from a few hundred weights that check what must hold for every weight by itself.

A probe is the projection of a sample of a tree's weights onto a fixed vector. It is linear: the probe of a sum is the
sum of the probes. A sum of trees that must not change, like θ̃ + Σ θᵏ of elastic averaging, can so be watched by one
number per tree, at a cost that does not grow with the model.
"""

import jax
import jax.numpy as jnp

from distopt.rules import Params
from distopt.trees import sample


def of_window(start: Params, end: Params) -> dict[str, jax.Array]:
    """Return the probes of a window's start and end, and ‖end − start‖₂ over the sampled weights; shape ()."""
    opened, ended = _sampled(start), _sampled(end)
    return {
        "start_probe": _project(opened),
        "end_probe": _project(ended),
        "moved_sampled": jnp.linalg.norm(ended - opened),
    }


def of_center(center: Params) -> dict[str, jax.Array]:
    """Return the probe of a center, and ‖θ̃‖₂ over the sampled weights; shape ()."""
    weights = _sampled(center)
    return {"center_probe": _project(weights), "center_sampled": jnp.linalg.norm(weights)}


def size(tree: Params) -> jax.Array:
    """Return ‖·‖₂ over the sampled weights for each entry of the leading axis, shape (q,)."""
    return jnp.linalg.norm(sample(tree).astype(jnp.float32), axis=1)


def _sampled(tree: Params) -> jax.Array:
    return sample(jax.tree.map(lambda leaf: leaf[None], tree))[0].astype(jnp.float32)


def _project(weights: jax.Array) -> jax.Array:
    # Not the plain sum: training does not change the sum of a softmax layer's weights.
    return jnp.dot(weights, jnp.cos(jnp.arange(weights.size, dtype=jnp.float32)), precision="highest")
