"""Top-k: the k numbers of largest magnitude over all arrays together, with their places.

    ‖y − z‖² ≤ (1 − k/d) ‖z‖²;      k (4 + i) bytes, i = 2 for d ≤ 65,536, else 4

Source: S. Stich, J.-B. Cordonnier, M. Jaggi, "Sparsified SGD with Memory", 2018 (arXiv:1809.07599).
Differences: GRACE and DGC take the largest numbers of each layer separately. Places are sent uncoded, though they would
fit in fewer bits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from distopt.compression.rules import Code, Compressor, Memory, biased
from distopt.rules import Params
from distopt.settings import require_number, require_whole


class Sparse(NamedTuple):
    """Some numbers of a vector."""

    value: jax.Array  # shape (k,)
    place: jax.Array  # uint16 or uint32, shape (k,)


def topk(*, share: float, count: int | None) -> Compressor:
    """Build top-k.

    Args:
        share: k / d, in (0, 1]; at least one number is sent.
        count: k ≥ 1, overrides `share`; None: k follows from `share`. Numbers above d count as d.
    """
    require_number("share", share, most=1)
    require_whole("count", count, optional=True)

    def encode(z: Params, memory: Memory, key: jax.Array) -> tuple[Code, Memory]:
        flat, _ = ravel_pytree(z)
        k = min(flat.size, count or max(1, round(share * flat.size)))
        _, places = jax.lax.top_k(jnp.abs(flat), k)
        small = jnp.uint16 if flat.size <= 2**16 else jnp.uint32
        return Sparse(flat[places], places.astype(small)), memory

    def decode(code: Code, like: Params) -> Params:
        flat, unravel = ravel_pytree(like)
        return unravel(jnp.zeros_like(flat).at[code.place].set(code.value))

    return Compressor(encode, decode, warnings=biased("topk"))
