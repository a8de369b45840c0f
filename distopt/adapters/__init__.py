"""Tasks from models of a framework: `linen`, `nnx`, `equinox`, and `plain` functions, each a module with one helper.

A helper says how a model of its framework is initialized and called. What is measured is here, the same for all.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from distopt.records import LOSS, Kind, Metric
from distopt.rules import Params
from distopt.tasks import Batch, Key, ModelState, Outputs, Sums, Task, classes, numbers, tokens

Call = Callable[[Params, ModelState, jax.Array, Key], tuple[Outputs, ModelState]]
"""Maps parameters, model state, inputs of a batch and a key to outputs and the new model state, as `Task.forward`."""
Each = Callable[[Outputs, Batch], jax.Array]
"""Maps outputs and a batch to one value per sample, shape (batch,), or per position."""


def make_task(
    init: Callable[[jax.Array], tuple[Params, ModelState]],
    call: Call,
    shape: tuple[int, ...],
    kind: Kind,
    loss: Each | None,
    metrics: Mapping[Metric, Each] | None,
    statistics: Callable[[Params, ModelState, jax.Array], ModelState] | None = None,
) -> Task:
    """Make the task of a model that is called with the inputs of a batch.

    Args:
        init: of the task.
        call: gets x, for a text the tokens that come before those to predict, int32 of shape (batch, T). Returns for
            `classes` logits (batch, classes), for `numbers` (batch, 1), for `tokens` logits (batch, T, V).
        shape: of one example, for a text (T,).
        kind: of the data; it decides what is minimized and measured.
        loss: what is minimized instead, its mean over all samples; then `metrics` are all that is measured besides.
        metrics: means over all samples, the first one decides comparisons.
        statistics: the model state with the statistics of normalisation of one batch, from x.

    Raises:
        ValueError: metrics without a loss.
    """

    def forward(params: Params, state: ModelState, batch: Batch, key: Key) -> tuple[Outputs, ModelState]:
        outputs, after = call(params, state, _inputs(batch, kind), key)
        return outputs, state if key is None else after

    refresh = statistics and (lambda params, state, batch: statistics(params, state, _inputs(batch, kind)))
    task = Task(init, forward, classes.measure, classes.METRICS, combine=classes.COMBINE, refresh=refresh)
    if kind == "numbers":
        task = task._replace(measure=numbers.measure, metrics=numbers.METRICS, finish=numbers.finish, sums=numbers.SUMS)
        task = task._replace(combine=numbers.COMBINE)
    if kind == "tokens":
        task = task._replace(measure=tokens.measure, metrics=tokens.METRICS, finish=tokens.finish, sums=tokens.SUMS)
        (context,) = shape
        show = partial(tokens.write, forward, context)
        task = task._replace(combine=tokens.COMBINE, at_once=max(1, tokens.AT_ONCE // context), show=show)
    if loss is not None:
        plain = Task(init, forward, _means({LOSS: loss, **(metrics or {})}), (*(metrics or {}), LOSS), refresh=refresh)
        return plain._replace(at_once=task.at_once, show=task.show)
    if metrics:
        raise ValueError("metrics are given together with a loss; without one the kind of the data decides")
    return task


def averages(after: Callable[[Any], Any], like: Any) -> Any:
    """Return the statistics of one batch, given how it changes running averages.

    These become m s + (1 − m) b, with a momentum m < 1 that may differ between them. From s = 0 and s = 1 follow m
    and b, the statistics of the batch.

    Args:
        after: maps running averages to those after the batch.
        like: a pytree of running averages.
    """
    low, high = (after(jax.tree.map(start, like)) for start in (jnp.zeros_like, jnp.ones_like))
    return jax.tree.map(lambda a, b: a / (1 - (b - a)), low, high)


def accepted(function: Callable[..., Any], **offered: Any) -> dict[str, Any]:
    """Return those of the arguments that a model has a parameter for."""
    return {name: value for name, value in offered.items() if name in inspect.signature(function).parameters}


def _inputs(batch: Batch, kind: Kind) -> jax.Array:
    return batch[0][:, :-1].astype(jnp.int32) if kind == "tokens" else batch[0]


def _means(each: Mapping[Metric, Each]) -> Callable[[Outputs, Batch], Sums]:
    def measure(outputs: Outputs, batch: Batch) -> Sums:
        found = {metric.name: value(outputs, batch).astype(jnp.float32) for metric, value in each.items()}
        return {name: (jnp.sum(values), jnp.float32(values.size)) for name, values in found.items()}

    return measure
