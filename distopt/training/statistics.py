"""Statistics of a model, such as those of batch normalisation, at given parameters: they are a function of these."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distopt.datasets import Dataset
from distopt.rules import Params
from distopt.tasks import ModelState, Task

SAMPLES = 1024  # training samples whose statistics are taken


def batches(data: Dataset, batch_size: int) -> Any:
    """Return a fixed part of the training data, in batches along a leading axis."""
    size = min(batch_size, data.size)
    count = min(-(-SAMPLES // size), data.size // size)
    rows = np.random.default_rng(0).permutation(data.size)[: count * size].reshape(count, size)
    return jax.tree.map(lambda array: array[rows], data.train)


def of_one(task: Task, params: Params, state: ModelState, batches: Any) -> ModelState:
    """Return the model state with statistics that are means over batches, which have a leading axis.

    What is no floating-point number, such as a count or a key, has no mean and stays as it is.
    """
    refresh = task.refresh
    assert refresh is not None
    each = jax.lax.map(lambda batch: refresh(params, state, batch), batches)
    return jax.tree.map(
        lambda leaf, a: jnp.mean(a, axis=0) if jnp.issubdtype(a.dtype, jnp.floating) else leaf, state, each
    )


def of_each(task: Task, members: Params, state: ModelState, batches: Any) -> ModelState:
    """Return the model state of each member, which are the leading axis of the parameters."""
    return jax.lax.map(lambda params: of_one(task, params, state, batches), members)
