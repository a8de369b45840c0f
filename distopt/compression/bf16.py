"""bf16: every number rounded to the nearest bfloat16, half of the bytes.

|y − z| ≤ 2⁻⁸ |z| for each number;      2 d bytes
"""

import jax
import jax.numpy as jnp

from distopt.compression.rules import Code, Compressor, Memory
from distopt.rules import Params


def bf16() -> Compressor:
    """Build rounding to bfloat16."""

    def encode(z: Params, memory: Memory, key: jax.Array) -> tuple[Code, Memory]:
        # A compiler may leave casts there and back out, and with them the rounding; this it may not.
        return jax.tree.map(lambda leaf: jax.lax.reduce_precision(leaf, 8, 7).astype(jnp.bfloat16), z), memory

    def decode(code: Code, like: Params) -> Params:
        return jax.tree.map(lambda half, leaf: half.astype(leaf.dtype), code, like)

    return Compressor(encode, decode)
