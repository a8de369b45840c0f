"""PowerSGD: every matrix as the product of two thin matrices, found by one step of power iteration.

    P = orth(M Q),   Q ← Mᵀ P,   y = P Qᵀ;      4 r (a + b) bytes for a matrix of a × b and rank r

Q starts at random and is kept from commit to commit, so that the steps of many commits add up. Where a column of Mᵀ P
is zero, as after a commit of zeros, the old column is kept. Otherwise orth would return the first r unit vectors for Q
= 0, and Q would stay 0 where these rows of M are zero, like those of pixels at the border. An array of more than two
axes is a matrix with its last axis as columns. Vectors, and matrices that two factors would not make smaller, are sent
unchanged.

Source: T. Vogels, S. P. Karimireddy, M. Jaggi, "PowerSGD: Practical Low-Rank Gradient Compression for Distributed
Optimization", 2019 (arXiv:1905.13727), algorithm 1.
Differences: in the paper all workers average P, and then Q, in lock step, as both are linear in M. Here every worker
has its own factors and sends both to the server: a different algorithm, whose mean commit may have any rank. PyTorch's
hook starts after some steps without compression, and only compresses matrices above a least rate; here every matrix
that gets smaller is compressed from the first commit on. The server, which encodes elastic differences, keeps no Q and
starts from a new random Q every time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.compression.rules import Code, Compressor, Memory, biased
from distopt.rules import Params
from distopt.settings import require_whole


class Factors(NamedTuple):
    """A matrix P Qᵀ."""

    p: jax.Array  # shape (a, r)
    q: jax.Array  # shape (b, r)


def powersgd(*, rank: int) -> Compressor:
    """Build PowerSGD.

    Args:
        rank: r ≥ 1.
    """
    require_whole("rank", rank)

    def thin(leaf: jax.Array) -> bool:
        if leaf.ndim < 2:
            return False
        columns = leaf.shape[-1]
        return rank * (leaf.size // columns + columns) < leaf.size

    def init(like: Params, key: jax.Array) -> Memory:
        leaves = jax.tree.leaves(like)
        keys = jax.random.split(key, len(leaves))
        return [
            jax.random.normal(keys[i], (leaf.shape[-1], rank), leaf.dtype) if thin(leaf) else ()
            for i, leaf in enumerate(leaves)
        ]

    def factors(leaf: jax.Array, q: jax.Array) -> Factors:
        matrix = leaf.reshape(-1, leaf.shape[-1])
        p, _ = jnp.linalg.qr(matrix @ q)
        return Factors(p, matrix.T @ p)

    def remembered(leaf: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
        # Rounding leaves a few eps of the matrix's norm in a column that should be 0. A column that is not finite is
        # not kept either.
        least = 10 * jnp.finfo(leaf.dtype).eps * jnp.linalg.norm(leaf)
        return jnp.where(jnp.linalg.norm(new, axis=0) > least, new, old)

    def encode(z: Params, memory: Memory, key: jax.Array) -> tuple[Code, Memory]:
        pairs = list(zip(jax.tree.leaves(z), memory, strict=True))
        code = [factors(leaf, q) if thin(leaf) else leaf for leaf, q in pairs]
        kept = zip(pairs, code, strict=True)
        return code, [remembered(leaf, part.q, q) if isinstance(part, Factors) else () for (leaf, q), part in kept]

    def decode(code: Code, like: Params) -> Params:
        leaves, structure = jax.tree.flatten(like)
        parts = zip(code, leaves, strict=True)
        decoded = [(part.p @ part.q.T).reshape(leaf.shape) if thin(leaf) else part for part, leaf in parts]
        return jax.tree.unflatten(structure, decoded)

    return Compressor(encode, decode, init, random=True, warnings=biased("powersgd"))
