"""bf16: every number rounded to a bfloat16, half of the bytes of float32.

    rounding=nearest:      |y − z| ≤ 2⁻⁸ |z| for each number
    rounding=stochastic:   |y − z| < 2⁻⁷ |z|, up or down with the probabilities that make E y = z

2 d bytes. A number that is already a bfloat16 does not change.

Source: for stochastic rounding S. Gupta et al., "Deep Learning with Limited Numerical Precision", 2015
(arXiv:1502.02551).
Differences: numbers of more than 32 bits are first rounded to the nearest float32. Stochastic rounding is unbiased and
needs no error feedback, but works with it. Numbers beyond the largest bfloat16 become infinite.
"""

import jax
import jax.numpy as jnp

from distopt.compression.rules import Code, Compressor, Memory
from distopt.rules import Params
from distopt.settings import require_choice


def bf16(*, rounding: str = "nearest") -> Compressor:
    """Build rounding to bfloat16.

    Args:
        rounding: `nearest`, or `stochastic`: at random, without a bias.
    """
    random = require_choice("rounding", rounding, {"nearest": False, "stochastic": True})

    def encode(z: Params, memory: Memory, key: jax.Array) -> tuple[Code, Memory]:
        if not random:
            return jax.tree.map(_nearest, z), memory
        leaves, structure = jax.tree.flatten(z)
        keys = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(structure, [_at_random(leaf, keys[i]) for i, leaf in enumerate(leaves)]), memory

    def decode(code: Code, like: Params) -> Params:
        return jax.tree.map(lambda half, leaf: half.astype(leaf.dtype), code, like)

    return Compressor(encode, decode, random=random)


def _nearest(leaf: jax.Array) -> jax.Array:
    # A compiler may remove a cast there and back, and with it the rounding; it must keep reduce_precision.
    return jax.lax.reduce_precision(leaf, 8, 7).astype(jnp.bfloat16)


def _at_random(leaf: jax.Array, key: jax.Array) -> jax.Array:
    """Add a random number to the 16 dropped bits, which carries with probability (dropped bits) / 2¹⁶."""
    single = leaf.astype(jnp.float32)
    whole = jax.lax.bitcast_convert_type(single, jnp.uint32) + jax.random.bits(key, leaf.shape, jnp.uint16)
    rounded = jax.lax.bitcast_convert_type((whole >> 16).astype(jnp.uint16), jnp.bfloat16)
    return jnp.where(jnp.isfinite(single), rounded, _nearest(single))  # a carry could turn a NaN into a number
