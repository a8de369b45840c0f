"""Language models: the next token of a text, at every position of a block."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distopt.records import BYTES, LOSS, Metric
from distopt.tasks import Batch, Sums, classes

SUMS = ("loss",)
COMBINE = classes.COMBINE  # a position is a sample with as many classes as there are tokens


def metrics(vocabulary: int) -> tuple[Metric, ...]:
    """Return what is told of a language model; only where tokens are bytes is it comparable with other vocabularies."""
    first = "bits_per_byte" if vocabulary == BYTES else "bits_per_token"
    return Metric(first), LOSS, Metric("perplexity", format=".2f")


def measure(logits: jax.Array, batch: Batch) -> Sums:
    """Return the sum of −w log p of each next token, in nats, and that of w, over the positions of a batch.

    Args:
        logits: of the next token, shape (batch, T, V).
        batch: blocks of T + 1 tokens, an array of integers of shape (batch, T + 1), and of documents the weights w of
            the predictions, shape (batch, T); without them each counts 1.
    """
    blocks, *weights = batch
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, blocks[:, 1:].astype(jnp.int32))
    if not weights:
        return {"loss": (jnp.sum(nll), jnp.float32(nll.size))}
    w = weights[0].astype(jnp.float32)
    return {"loss": (jnp.sum(w * nll), jnp.sum(w))}


def finish(sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
    """Return nats per token, e to that power, and bits per token, nats / ln 2, which are bits per byte for bytes."""
    total, weight = sums["loss"]
    loss = total / weight
    bits = loss / math.log(2)
    return {"bits_per_byte": bits, "bits_per_token": bits, "loss": loss, "perplexity": xp.exp(loss)}
