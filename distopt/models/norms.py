"""Norms of hidden layers by name: what brings features to mean zero and spread one before the activation."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer

from distopt.adapters.linen import STATISTICS, Mode

BATCHED = ("batch", "whitening")  # those that take their statistics over the batch
GROUPS, LEAST = 32, 8  # of group normalisation: groups at most, and features that each has at least
SIZE, STEPS = 16, 5  # of whitening: features of a group at most, and Newton steps
EPSILON, MOMENTUM = 1e-5, 0.99  # of whitening: added to variances; share of the old value in running averages


def norm(name: str, x: jax.Array, train: Mode, gain: Initializer = nn.initializers.ones) -> jax.Array:
    """Normalize features and apply a gain and an offset to each; call it inside a Flax module.

    - `none`: x as it is.
    - `batch`: over the batch and the pixels (Ioffe & Szegedy 2015).
    - `layer`: over the features of each sample (Ba et al. 2016).
    - `group`: over groups of neighbouring features, and the pixels, of each sample (Wu & He 2018).
    - `whitening`: as `batch`, and groups of neighbouring features become uncorrelated; see `Whitening`.

    Args:
        name: of the norm.
        x: features, shape (batch, ..., features).
        train: how the module was called.
        gain: initial gain.
    """
    if name == "batch":
        return nn.BatchNorm(use_running_average=not train, scale_init=gain)(x)
    if name == "layer":
        return nn.LayerNorm(scale_init=gain)(x)
    if name == "group":
        return nn.GroupNorm(divisor(x.shape[-1], min(GROUPS, x.shape[-1] // LEAST)), scale_init=gain)(x)
    if name == "whitening":
        return Whitening(use_running_average=not train, scale_init=gain)(x)
    return x


class Whitening(nn.Module):
    """Whiten groups of features over the batch, by Newton steps instead of an eigendecomposition.

    With mean μ and covariance Σ + εI of a group, x becomes W (x − μ), where W is close to (Σ + εI)^(−½). Directions
    of little variance stay small: 5 steps enlarge one at most 7.6-fold over 1/√tr Σ. A gain and an offset of each
    feature follow. Running averages are those of μ and W, as in the source.

    Source: L. Huang et al., "Iterative Normalization: Beyond Standardization towards Efficient Whitening", 2019,
    algorithm 1; groups are as large as divides the features, and at most 16.
    """

    use_running_average: bool
    scale_init: Initializer = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map features to features, both of shape (batch, ..., features)."""
        features = x.shape[-1]
        size = divisor(features, SIZE)
        shape = (features // size, size, size)
        kept_mean = self.variable(STATISTICS, "mean", jnp.zeros, features)
        kept_matrix = self.variable(STATISTICS, "matrix", lambda: jnp.broadcast_to(jnp.eye(size), shape))
        rows = x.reshape(-1, features)
        if self.use_running_average:
            mean, matrix = kept_mean.value, kept_matrix.value
        else:
            mean = rows.mean(axis=0)
            groups = (rows - mean).reshape(-1, *shape[:2])
            covariance = jnp.einsum("ngi,ngj->gij", groups, groups, precision="highest") / len(rows)
            matrix = inverse_root(covariance + EPSILON * jnp.eye(size))
            if not self.is_initializing():
                kept_mean.value = MOMENTUM * kept_mean.value + (1 - MOMENTUM) * mean
                kept_matrix.value = MOMENTUM * kept_matrix.value + (1 - MOMENTUM) * matrix
        white = jnp.einsum("ngi,gij->ngj", (rows - mean).reshape(-1, *shape[:2]), matrix).reshape(x.shape)
        gain = self.param("scale", self.scale_init, (features,))
        return gain * white + self.param("bias", nn.initializers.zeros, (features,))


def inverse_root(covariance: jax.Array, steps: int = STEPS) -> jax.Array:
    """Return about Σ^(−½) of symmetric positive matrices Σ, shape (..., d, d), by Newton's method.

    From Y = Σ / tr Σ, whose eigenvalues are in (0, 1], and Z = I, each step takes T = ½ (3I − Z Y), then Y T and T Z;
    Z tends to Y₀^(−½). That is P ← ½ (3P − P³ Y₀) of the source in the form that rounding does not disturb.

    Source: N. Higham, "Functions of Matrices", 2008, chapter 6, the coupled form of the Newton-Schulz iteration.
    """
    trace = jnp.trace(covariance, axis1=-2, axis2=-1)[..., None, None]
    identity = jnp.eye(covariance.shape[-1])
    y, z = covariance / trace, jnp.broadcast_to(identity, covariance.shape)
    with jax.default_matmul_precision("highest"):
        for _ in range(steps):
            t = 1.5 * identity - 0.5 * z @ y
            y, z = y @ t, t @ z
    return z / jnp.sqrt(trace)


def divisor(number: int, limit: int) -> int:
    """Return the largest divisor of a number that is at most `limit`, or 1."""
    return next((d for d in range(limit, 1, -1) if number % d == 0), 1)
