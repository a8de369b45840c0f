"""Ranking: which items come next for a user, learnt from those that the user has.

A sample is a user with a list of items. Workers prefer each of them to an item that the user does not have, and what is
measured is how far up they are among all items. Source of the loss: S. Rendle et al., "BPR: Bayesian Personalized
Ranking from Implicit Feedback", UAI 2009, equation 5; here a step takes all items of the users in its batch.
"""

import jax
import jax.numpy as jnp

from distopt.records import LOSS, Metric
from distopt.tasks import Batch, Key, Sums

Outputs = tuple[jax.Array, jax.Array]
"""Scores of all items, shape (batch, items), and `negatives`."""
TOP = 10  # items that are looked at
METRICS = (Metric(f"ndcg_at_{TOP}", "higher"), Metric(f"hit_at_{TOP}", "higher"), LOSS)


def negatives(batch: Batch, count: int, key: Key) -> jax.Array:
    """Return for each item of a user one that the user does not have, at random, all with the same probability.

    What is drawn depends on the key and the user, so an evaluation, where the key is None, always draws the same.

    Args:
        batch: as in `measure`; each user lacks some item.
        count: the number of items.
        key: of the draws.

    Returns:
        Shape (batch, K), int32; also where items are padded.
    """
    user, items, seen = batch
    place = jnp.cumsum(~(_within(items, count) | _within(seen, count)), axis=1, dtype=jnp.int32)  # 1, 2, … of the free

    def draw(user: jax.Array, place: jax.Array) -> jax.Array:
        own = jax.random.fold_in(jax.random.key(0) if key is None else key, user)
        return jnp.searchsorted(place, jax.random.randint(own, items.shape[1:], 1, place[-1] + 1))

    return jax.vmap(draw)(user, place)


def measure(outputs: Outputs, batch: Batch) -> Sums:
    """Return sums over the users and items of a batch.

    - `loss`: −log σ(sᵢ − sⱼ) of each item i with score sᵢ and its negative j, per item.
    - `ndcg_at_10`: Σ 1 / log₂(rank + 1) over the user's items with rank 1 .. 10, over the most that so many items can
      reach, per user. Ranks are by score among all items but those left out; of equal scores the lower number is first.
    - `hit_at_10`: 1 if one of the user's items has such a rank, else 0, per user.

    Args:
        outputs: scores and negatives.
        batch: `(user, items, seen)`: the user's number, shape (batch,), items to rank high, shape (batch, K), and items
            to leave out, shape (batch, S); a list has no item twice, is padded with the number of items, and shares
            none with the other. Each user has an item.
    """
    scores, drawn = outputs
    _, items, seen = batch
    count = scores.shape[1]
    there = items < count
    liked, other = (jnp.take_along_axis(scores, each, axis=1) for each in (jnp.where(there, items, 0), drawn))
    losses = jnp.where(there, jax.nn.softplus(other - liked), 0)
    _, first = jax.lax.top_k(jnp.where(_within(seen, count), -jnp.inf, scores), min(TOP, count))
    right = jnp.take_along_axis(_within(items, count), first, axis=1)
    gains = 1 / jnp.log2(jnp.arange(first.shape[1]) + 2.0)
    most = jnp.cumsum(gains)[jnp.minimum(jnp.sum(there, axis=1), first.shape[1]) - 1]
    users = jnp.float32(len(items))
    return {
        METRICS[0].name: (jnp.sum(right @ gains / most), users),
        METRICS[1].name: (jnp.sum(jnp.any(right, axis=1), dtype=jnp.float32), users),
        "loss": (jnp.sum(losses), jnp.sum(there, dtype=jnp.float32)),
    }


def _within(lists: jax.Array, count: int) -> jax.Array:
    """Return which of `count` items each list has, shape (batch, items)."""
    rows = jnp.arange(len(lists))[:, None]
    return jnp.zeros((len(lists), count), bool).at[rows, lists].set(True, mode="drop")


def mean_scores(outputs: Outputs) -> Outputs:
    """Return the mean of the members' scores, with the negatives, which all have drawn alike."""
    scores, drawn = outputs
    return jnp.mean(scores, axis=0), drawn[0]


COMBINE = (("", mean_scores),)
