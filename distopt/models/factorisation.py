"""Matrix factorisation: a user's rating of an item is a product of factors, and a bias of each.

Source: Y. Koren, R. Bell, C. Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer 42(8), 2009,
equations 2, 4 and 5; the penalty here is on all factors at once, not on those of each rating.
"""

import jax
import jax.numpy as jnp

from distopt.models.ridge import ridge
from distopt.records import Kind
from distopt.rules import Params
from distopt.settings import require_whole
from distopt.tasks import Batch, Key, ModelState, Task, ranking, ratings

SPREAD = 0.1  # standard deviation of initial factors
SCORES = 2**24  # that an evaluation has in memory at once, about


def factorisation(*, shape: tuple[int, ...], classes: int, rank: int, l2: float = 0.0, kind: Kind = "ratings") -> Task:
    """Build f(u, i) = μ + bᵤ + bᵢ + pᵤ·qᵢ, or bᵢ + pᵤ·qᵢ to rank items, as μ + bᵤ is the same for all items of a user.

    Args:
        shape: the number of users and that of items.
        classes: 1.
        rank: the number of factors of a user, and of an item.
        l2: λ of the penalty λ/2 (‖p‖² + ‖q‖² + ‖b‖²); μ is free.
        kind: of the data, `ratings` or `ranking`.

    Raises:
        ValueError: the rank or λ is out of range.
    """
    require_whole("model.rank", rank)

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        keys = jax.random.split(key)
        sides = {
            name: {"factors": SPREAD * jax.random.normal(key, (count, rank)), "bias": jnp.zeros(count)}
            for name, key, count in zip(("user", "item"), keys, shape, strict=True)
        }
        if kind == "ranking":
            del sides["user"]["bias"]
            return sides, {}
        return {**sides, "mean": jnp.zeros(())}, {}

    def rated(params: Params, state: ModelState, batch: Batch, key: Key) -> tuple[jax.Array, ModelState]:
        del key
        user = jax.tree.map(lambda a: a[batch[0]], params["user"])
        item = jax.tree.map(lambda a: a[batch[1]], params["item"])
        product = jnp.sum(user["factors"] * item["factors"], axis=-1)
        return params["mean"] + user["bias"] + item["bias"] + product, state

    def ranked(params: Params, state: ModelState, batch: Batch, key: Key) -> tuple[ranking.Outputs, ModelState]:
        user, item = params["user"]["factors"][batch[0]], params["item"]
        scores = user @ item["factors"].T + item["bias"]
        return (scores, ranking.negatives(batch, shape[1], key)), state

    penalty = ridge(l2, lambda params: (params["user"], params["item"]))
    if kind == "ranking":
        at_once = min(Task._field_defaults["at_once"], -(-SCORES // shape[1]))
        return Task(
            *(init, ranked, ranking.measure, ranking.METRICS),
            combine=ranking.COMBINE,
            at_once=at_once,
            penalty=penalty,
        )
    return Task(
        init, rated, ratings.measure, ratings.METRICS, ratings.finish, ratings.SUMS, ratings.COMBINE, penalty=penalty
    )
