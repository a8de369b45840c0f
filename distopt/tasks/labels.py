"""Binary and multi-label classification: labels that hold or not, any number of them per sample."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distopt.records import ACCURACY, LOSS, Metric
from distopt.tasks import Batch, Sums, classes

METRICS = (Metric("auc", "higher"), LOSS, Metric("f1", "higher"), ACCURACY)
SUMS = ("loss", "f1", "accuracy", "scores")
BINS = 512


def arrays(count: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return the shapes of the sums that are arrays, for `count` labels."""
    return (("scores", (count, BINS)),)


def measure(logits: jax.Array, batch: Batch) -> Sums:
    """Return sums over the samples and labels of a batch.

    - `loss`: sigmoid cross-entropy, summed over the labels, per sample.
    - `f1`: 2 tp over 2 tp + fp + fn, with true positives tp, false positives fp and false negatives fn at 1/2.
    - `accuracy`: labels that are right at 1/2, per label.
    - `scores`: how often logits z are in each bin, for labels that hold and for those that do not: two histograms of
      z / (1 + |z|), whose bins are finest where most logits are. Of histograms, unlike of areas, sums can be taken.

    Args:
        logits: shape (batch, labels).
        batch: `(x, y)` with y 0 or 1 of the same shape.
    """
    y = batch[1].astype(jnp.float32)
    losses = optax.sigmoid_binary_cross_entropy(logits, y)
    called = (logits > 0).astype(jnp.float32)
    both, either = jnp.sum(called * y), jnp.sum(called + y)
    place = jnp.clip(((logits / (1 + jnp.abs(logits)) + 1) * (BINS / 2)).astype(jnp.int32), 0, BINS - 1)
    empty = jnp.zeros((logits.shape[1], BINS))
    label = jnp.broadcast_to(jnp.arange(logits.shape[1]), logits.shape)
    return {
        "loss": (jnp.sum(losses), jnp.float32(len(y))),
        "f1": (2 * both, either),
        "accuracy": (jnp.sum(called == y, dtype=jnp.float32), jnp.float32(y.size)),
        "scores": (empty.at[label, place].add(y), empty.at[label, place].add(1 - y)),
    }


def finish(sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
    """Return the area under the ROC curve and the ratios.

    The area is the share of pairs of a positive and a negative whose scores are in the right order, ties counting half,
    as do pairs within one bin; with positives pᵢ and negatives nᵢ of bin i it is Σᵢ pᵢ (Σ_{j<i} nⱼ + nᵢ/2) / (P N).
    Of several labels it is the mean over those that have both positives and negatives, not a number if none has. F1,
    over all labels together, is 0 if no label holds and none is called.
    """
    positives, negatives = sums["scores"]
    below = xp.cumsum(negatives, axis=-1) - negatives / 2
    pairs = xp.sum(positives, axis=-1) * xp.sum(negatives, axis=-1)
    area = xp.sum(positives * below, axis=-1) / xp.where(pairs > 0, pairs, 1)
    told = xp.sum(pairs > 0, axis=-1)
    auc = xp.where(told > 0, xp.sum(area, axis=-1) / xp.where(told > 0, told, 1), xp.nan)
    found = {name: sums[name][0] / xp.where(sums[name][1] > 0, sums[name][1], 1) for name in SUMS[:3]}
    return {"auc": auc, **found}


def mean_probabilities(logits: jax.Array) -> jax.Array:
    """Return logits of the mean of the members' probabilities; the members are the leading axis."""
    return jax.nn.logsumexp(jax.nn.log_sigmoid(logits), axis=0) - jax.nn.logsumexp(jax.nn.log_sigmoid(-logits), axis=0)


COMBINE = (("", mean_probabilities), ("mean_logits_", classes.mean_logits))
