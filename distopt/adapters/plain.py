"""Make a task from two functions."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from distopt.adapters import Each, accepted, make_task
from distopt.records import Kind, Metric
from distopt.rules import Params
from distopt.tasks import Key, ModelState, Task


def plain_task(
    init: Callable[[jax.Array], Params],
    apply: Callable[..., Any],
    shape: tuple[int, ...],
    kind: Kind = "classes",
    *,
    loss: Each | None = None,
    metrics: Mapping[Metric, Each] | None = None,
) -> Task:
    """Make a task from `init(key) -> params` and `apply(params, x)` or `apply(params, x, key)`.

    Args:
        init: makes a pytree of float32 arrays.
        apply: maps a batch to outputs; `key` is None when the model is evaluated.
        shape: of one example.
        kind: of the data; `distopt.adapters.make_task` says what the outputs are.
        loss: minimized instead of the kind's.
        metrics: measured beside `loss`.
    """

    def call(params: Params, state: ModelState, x: jax.Array, key: Key) -> tuple[Any, ModelState]:
        return apply(params, x, **accepted(apply, key=key)), state

    return make_task(lambda key: (init(key), {}), call, shape, kind, loss, metrics)
