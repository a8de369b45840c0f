"""Classification: one class of several per sample."""

import jax
import jax.numpy as jnp
import optax

from distopt.records import ACCURACY, LOSS
from distopt.tasks import Batch, Sums

METRICS = (ACCURACY, LOSS)


def measure(logits: jax.Array, batch: Batch) -> Sums:
    """Return the sums of softmax cross-entropy and of hits over the samples of a batch `(x, y)`.

    Args:
        logits: shape (batch, classes).
        batch: y are classes, int32 of shape (batch,).
    """
    _, y = batch
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
    hits = jnp.argmax(logits, axis=-1) == y
    weight = jnp.float32(losses.size)
    return {"accuracy": (jnp.sum(hits, dtype=jnp.float32), weight), "loss": (jnp.sum(losses), weight)}


def mean_probabilities(logits: jax.Array) -> jax.Array:
    """Return logits of the mean of the members' probabilities; the members are the leading axis."""
    return jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(len(logits))


def mean_logits(logits: jax.Array) -> jax.Array:
    """Return the mean of the members' logits."""
    return jnp.mean(logits, axis=0)


COMBINE = (("", mean_probabilities), ("mean_logits_", mean_logits))
