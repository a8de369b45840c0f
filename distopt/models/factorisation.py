"""Matrix factorisation: a user's rating of an item is a product of factors, and a bias of each.

Source: Y. Koren, R. Bell, C. Volinsky, "Matrix Factorization Techniques for Recommender Systems", Computer 42(8), 2009,
equations 2, 4 and 5; the penalty here is on all factors at once, not on those of each rating.
"""

import jax
import jax.numpy as jnp

from distopt.models.ridge import ridge
from distopt.rules import Params
from distopt.settings import require_whole
from distopt.tasks import Batch, Key, ModelState, Task, ratings

SPREAD = 0.1  # standard deviation of initial factors


def factorisation(*, shape: tuple[int, ...], classes: int, rank: int, l2: float = 0.0) -> Task:
    """Build f(u, i) = μ + bᵤ + bᵢ + pᵤ·qᵢ.

    Args:
        shape: the number of users and that of items.
        classes: 1.
        rank: the number of factors of a user, and of an item.
        l2: λ of the penalty λ/2 (‖p‖² + ‖q‖² + ‖b‖²); μ is free.

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
        return {**sides, "mean": jnp.zeros(())}, {}

    def forward(params: Params, state: ModelState, batch: Batch, key: Key) -> tuple[jax.Array, ModelState]:
        del key
        user = jax.tree.map(lambda a: a[batch[0]], params["user"])
        item = jax.tree.map(lambda a: a[batch[1]], params["item"])
        product = jnp.sum(user["factors"] * item["factors"], axis=-1)
        return params["mean"] + user["bias"] + item["bias"] + product, state

    penalty = ridge(l2, lambda params: (params["user"], params["item"]))
    return Task(
        init, forward, ratings.measure, ratings.METRICS, ratings.finish, ratings.SUMS, ratings.COMBINE, penalty=penalty
    )
