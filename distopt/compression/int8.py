"""int8: every number as one of 255 levels, equally spaced up to the largest magnitude of its array.

    a = max |z| / 127,   y = a · round(z / a),   |y − z| ≤ a / 2;      d + 4 bytes for an array of d numbers

Differences: one scale per array (a layer's kernel, a bias); torchft has one per block of an array.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.compression.rules import Code, Compressor, Memory
from distopt.rules import Params

LEVELS = 127


class Scaled(NamedTuple):
    """Whole numbers and their unit."""

    level: Params  # int8
    scale: Params  # a, shape () for each array


def int8() -> Compressor:
    """Build rounding to 8 bits."""

    def level(leaf: jax.Array, scale: jax.Array) -> jax.Array:
        return jnp.round(leaf / jnp.where(scale > 0, scale, 1)).astype(jnp.int8)

    def encode(z: Params, memory: Memory, key: jax.Array) -> tuple[Code, Memory]:
        scale = jax.tree.map(lambda leaf: jnp.max(jnp.abs(leaf)) / LEVELS, z)
        return Scaled(jax.tree.map(level, z, scale), scale), memory

    def decode(code: Code, like: Params) -> Params:
        return jax.tree.map(lambda leaf, n, a: n.astype(leaf.dtype) * a, like, code.level, code.scale)

    return Compressor(encode, decode)
