"""QSGD: magnitudes rounded at random to one of s levels of their bucket's norm, so that the expectation is exact.

    y = ‖z‖₂ sign(z) ℓ / s,   ℓ = ⌊s |z| / ‖z‖₂⌋ or one more, with the probability that makes E y = z
    E ‖y − z‖² ≤ min(b / s², √b / s) ‖z‖²  for a bucket of b numbers
    ⌈d w / 8⌉ + 4 ⌈d / b⌉ bytes,   w = ⌈log₂(2 s + 1)⌉ bits per number

Source: D. Alistarh et al., "QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding", 2017
(arXiv:1610.02132); the bound is its lemma 3.1.
Differences: levels are packed in words of equal length, not in Elias codes. Buckets are cut from all arrays laid end to
end. QSGD is unbiased and needs no error feedback; with error feedback, which is another method, the bound has to be
below 1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from distopt.compression import bits
from distopt.compression.rules import Code, Compressor, Memory
from distopt.rules import Params
from distopt.settings import require_whole

MOST = 2**15 - 1  # levels; 16 bits per number


class Levels(NamedTuple):
    """Levels and norms of buckets."""

    level: jax.Array  # sign(z) ℓ + s, packed, uint8
    norm: jax.Array  # ‖z‖₂, shape (buckets,)


def qsgd(*, levels: int, bucket: int) -> Compressor:
    """Build QSGD.

    Args:
        levels: s, 1 ≤ s ≤ 32767; 1 sends signs and zeros.
        bucket: b ≥ 1, numbers that share a norm.
    """
    require_whole("levels", levels)
    if levels > MOST:
        raise ValueError(f"levels={levels} must be at most {MOST}")
    require_whole("bucket", bucket)
    width = (2 * levels).bit_length()

    def encode(z: Params, memory: Memory, key: jax.Array) -> tuple[Code, Memory]:
        flat, _ = ravel_pytree(z)
        buckets = jnp.pad(flat, (0, -flat.size % bucket)).reshape(-1, bucket)
        norm = jnp.linalg.norm(buckets, axis=1)
        exact = levels * jnp.abs(buckets) / jnp.where(norm > 0, norm, 1)[:, None]
        up = jax.random.uniform(key, exact.shape, exact.dtype) < exact - jnp.floor(exact)
        level = jnp.minimum(jnp.floor(exact) + up, levels)  # rounding may give s + 1
        signed = (jnp.sign(buckets) * level + levels).ravel()[: flat.size]
        return Levels(bits.pack(signed, width), norm), memory

    def decode(code: Code, like: Params) -> Params:
        flat, unravel = ravel_pytree(like)
        signed = bits.unpack(code.level, width, flat.size).astype(flat.dtype) - levels
        return unravel(jnp.repeat(code.norm, bucket)[: flat.size] * signed / levels)

    def warnings(error_feedback: bool) -> list[str]:
        variance = min(bucket / levels**2, bucket**0.5 / levels)
        if not error_feedback or variance < 1:
            return []
        return [
            f"compression.levels={levels} with buckets of {bucket} may err by {variance:.3g} times the square of what "
            "is sent (Alistarh et al. 2017, lemma 3.1): error feedback is safe only below 1; raise the levels"
        ]

    return Compressor(encode, decode, random=True, warnings=warnings)
