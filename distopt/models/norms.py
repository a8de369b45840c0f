"""Norms of hidden layers by name: what brings features to mean zero and spread one before the activation."""

import flax.linen as nn
import jax
from flax.typing import Initializer

from distopt.models.classifier import Mode

BATCHED = ("batch",)  # those that take their statistics over the batch
GROUPS, LEAST = 32, 8  # of group normalisation: groups at most, and features that each has at least


def norm(name: str, x: jax.Array, train: Mode, gain: Initializer = nn.initializers.ones) -> jax.Array:
    """Normalize features and apply a gain and an offset to each; call it inside a Flax module.

    - `none`: x as it is.
    - `batch`: over the batch and the pixels (Ioffe & Szegedy 2015).
    - `layer`: over the features of each sample (Ba et al. 2016).
    - `group`: over groups of neighbouring features, and the pixels, of each sample (Wu & He 2018).

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
    return x


def divisor(number: int, limit: int) -> int:
    """Return the largest divisor of a number that is at most `limit`, or 1."""
    return next((d for d in range(limit, 1, -1) if number % d == 0), 1)
