"""Language models: the next token of a text, at every position of a block."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distopt.records import LOSS, Metric
from distopt.tasks import Batch, Sums, classes

METRICS = (Metric("bits_per_byte"), LOSS, Metric("perplexity", format=".2f"))
SUMS = ("loss",)
COMBINE = classes.COMBINE  # a position is a sample with as many classes as there are tokens


def measure(logits: jax.Array, batch: Batch) -> Sums:
    """Return the sum of −log p of each next token, in nats, over the positions of a batch.

    Args:
        logits: of the next token, shape (batch, T, V).
        batch: blocks of T + 1 tokens, an array of integers of shape (batch, T + 1).
    """
    (blocks,) = batch
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, blocks[:, 1:].astype(jnp.int32))
    return {"loss": (jnp.sum(nll), jnp.float32(nll.size))}


def finish(sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
    """Return nats per token, e to that power, and bits per byte where every token is a byte: nats / ln 2."""
    total, weight = sums["loss"]
    loss = total / weight
    return {"bits_per_byte": loss / math.log(2), "loss": loss, "perplexity": xp.exp(loss)}
