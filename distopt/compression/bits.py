"""Small whole numbers packed into bytes."""

import jax
import jax.numpy as jnp


def pack(numbers: jax.Array, bits: int) -> jax.Array:
    """Pack whole numbers in [0, 2^bits), shape (d,), into ⌈d · bits / 8⌉ bytes."""
    places = jnp.arange(bits, dtype=jnp.uint32)
    return jnp.packbits((numbers.astype(jnp.uint32)[:, None] >> places & 1).astype(jnp.uint8).ravel())


def unpack(packed: jax.Array, bits: int, count: int) -> jax.Array:
    """Return the `count` numbers that `pack` packed, uint32."""
    places = jnp.arange(bits, dtype=jnp.uint32)
    digits = jnp.unpackbits(packed, count=bits * count).reshape(count, bits).astype(jnp.uint32)
    return jnp.sum(digits << places, axis=1, dtype=jnp.uint32)
