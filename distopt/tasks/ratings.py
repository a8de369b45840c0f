"""Ratings of items by users."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from distopt.records import LOSS, Metric
from distopt.tasks import Batch, Sums, numbers

METRICS = (Metric("rmse"), Metric("mae"), LOSS)
SUMS = ("loss", "absolute")
COMBINE = numbers.COMBINE  # the mean of the members' outputs


def measure(outputs: jax.Array, batch: Batch) -> Sums:
    """Return the sums over the ratings r of ½ (r − f)², which workers minimize, and of |r − f|.

    Args:
        outputs: f, shape (batch,).
        batch: `(user, item, r)`, each of shape (batch,).
    """
    error, weight = batch[2] - outputs, jnp.float32(outputs.size)
    return {"loss": (jnp.sum(error**2) / 2, weight), "absolute": (jnp.sum(jnp.abs(error)), weight)}


def finish(sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
    """Return √mean (r − f)² and mean |r − f|, in units of the ratings, and the loss."""
    loss, absolute = (sums[name][0] / sums[name][1] for name in SUMS)
    return {"rmse": xp.sqrt(2 * loss), "mae": absolute, "loss": loss}
