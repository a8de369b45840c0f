"""Scaled sign: one bit per number, and the mean magnitude of each array.

    y = (‖z‖₁ / d) sign(z);      ⌈d / 8⌉ + 4 bytes for an array of d numbers;      zeros count as positive

Source: S. P. Karimireddy et al., "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", 2019
(arXiv:1901.09847), algorithm 1.
Differences: GRACE's memory leaves the learning rate out of the first step; here the commit contains it from the start.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.compression import bits
from distopt.compression.rules import Code, Compressor, Memory, biased
from distopt.rules import Params


class Signs(NamedTuple):
    """Signs and magnitude of each array."""

    positive: Params  # packed, uint8
    scale: Params  # shape ()


def sign() -> Compressor:
    """Build the scaled sign."""

    def encode(z: Params, memory: Memory, key: jax.Array) -> tuple[Code, Memory]:
        positive = jax.tree.map(lambda leaf: bits.pack(leaf.ravel() >= 0, 1), z)
        return Signs(positive, jax.tree.map(lambda leaf: jnp.mean(jnp.abs(leaf)), z)), memory

    def decode(code: Code, like: Params) -> Params:
        def array(leaf: jax.Array, packed: jax.Array, scale: jax.Array) -> jax.Array:
            positive = bits.unpack(packed, 1, leaf.size).reshape(leaf.shape)
            return jnp.where(positive == 1, scale, -scale)

        return jax.tree.map(array, like, code.positive, code.scale)

    return Compressor(encode, decode, warnings=biased("sign"))
