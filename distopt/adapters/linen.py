"""Make a task from a Flax linen module."""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from distopt.adapters import Each, accepted, averages, make_task
from distopt.records import Kind, Metric
from distopt.rules import Params
from distopt.tasks import Key, ModelState, Task

Mode = bool | Literal["statistics"]
"""How a module is called: evaluation, training, or normalizing as in training without dropout."""
STATISTICS = "batch_stats"  # Flax's collection of running averages


def linen_task(
    module: nn.Module,
    shape: tuple[int, ...],
    kind: Kind = "classes",
    *,
    loss: Each | None = None,
    metrics: Mapping[Metric, Each] | None = None,
) -> Task:
    """Make a task from a linen module, which is called as `module(x)` or `module(x, train=...)`.

    It may use the random stream `dropout`, and mutable collections such as `batch_stats`, which become the model state.
    With `train="statistics"` it normalizes as in training but drops nothing.

    Args:
        module: maps a batch to outputs.
        shape: of one example.
        kind: of the data; `distopt.adapters.make_task` says what the outputs are.
        loss: minimized instead of the kind's.
        metrics: measured beside `loss`.
    """

    def mode(train: Mode) -> dict[str, Any]:
        return accepted(type(module).__call__, train=train)

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        example = jnp.zeros((1, *shape), jnp.int32 if kind == "tokens" else jnp.float32)
        variables = dict(module.init(key, example, **mode(False)))
        params = variables.pop("params")
        return params, variables

    def call(params: Params, state: ModelState, x: jax.Array, key: Key) -> tuple[Any, ModelState]:
        variables, train = {"params": params, **state}, key is not None
        rngs = {"dropout": key} if train else None
        if train and state:
            return module.apply(variables, x, **mode(True), rngs=rngs, mutable=list(state))
        return module.apply(variables, x, **mode(train), rngs=rngs), state

    def statistics(params: Params, state: ModelState, x: jax.Array) -> ModelState:
        if STATISTICS not in state:
            return state

        def after(start: Any) -> Any:
            variables = {"params": params, **state, STATISTICS: start}
            rngs = {"dropout": jax.random.key(0)}  # for modules that drop in this mode all the same
            called = module.apply(variables, x, **mode("statistics"), rngs=rngs, mutable=[STATISTICS])
            return called[1][STATISTICS]

        return {**state, STATISTICS: averages(after, state[STATISTICS])}

    return make_task(init, call, shape, kind, loss, metrics, statistics)
