"""Regression: a number per sample."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from distopt.records import LOSS, Metric
from distopt.tasks import Batch, Sums

METRICS = (Metric("rmse"), Metric("r2", "higher"), Metric("mae"), LOSS)
SUMS = ("loss", "absolute", "target", "square")


def measure(outputs: jax.Array, batch: Batch) -> Sums:
    """Return the sums over the samples of ½ (y − f)², which workers minimize, of |y − f|, y and y².

    Args:
        outputs: f, shape (batch, 1).
        batch: `(x, y)` with numbers y of shape (batch,).
    """
    y = batch[1]
    error, weight = y - outputs[:, 0], jnp.float32(y.size)
    each = {"loss": error**2 / 2, "absolute": jnp.abs(error), "target": y, "square": y**2}
    return {name: (jnp.sum(values), weight) for name, values in each.items()}


def finish(sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
    """Return √mean (y − f)², 1 − mean (y − f)² / var y, mean |y − f| and the loss; not a number if y is constant."""
    loss, absolute, target, square = (sums[name][0] / sums[name][1] for name in SUMS)
    variance = square - target**2
    r2 = xp.where(variance > 0, 1 - 2 * loss / xp.where(variance > 0, variance, 1), xp.nan)
    return {"rmse": xp.sqrt(2 * loss), "r2": r2, "mae": absolute, "loss": loss}


def mean(outputs: jax.Array) -> jax.Array:
    """Return the mean of the members' outputs; the members are the leading axis."""
    return jnp.mean(outputs, axis=0)


COMBINE = (("", mean),)
