"""Make a task from a Flax nnx module."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from distopt.adapters import Each, averages, make_task
from distopt.records import Kind, Metric
from distopt.rules import Params
from distopt.tasks import Key, ModelState, Task
from distopt.trees import is_key


def nnx_task(
    make: Callable[[nnx.Rngs], nnx.Module],
    shape: tuple[int, ...],
    kind: Kind = "classes",
    *,
    loss: Each | None = None,
    metrics: Mapping[Metric, Each] | None = None,
) -> Task:
    """Make a task from a function that builds an nnx module, which is called as `module(x)`.

    Its `nnx.Param` are trained; `nnx.BatchStat` and variables of other types are the model state. Before a call
    `train()` or `eval()` sets the mode, and every random stream begins anew with a key of its own.

    Args:
        make: builds the module, which maps a batch to outputs.
        shape: of one example.
        kind: of the data; `distopt.adapters.make_task` says what the outputs are.
        loss: minimized instead of the kind's.
        metrics: measured beside `loss`.
    """
    graph, *abstract, streams, _ = _split(nnx.eval_shape(lambda: make(nnx.Rngs(0))))

    def build(params: Params, state: ModelState, key: Key) -> nnx.Module:
        """Build the module with these values."""
        parts = [jax.tree.map(lambda leaf: leaf, part) for part in abstract]
        for part, values in zip(parts, (params, state.get("averages", {}), state.get("others", {})), strict=True):
            nnx.replace_by_pure_dict(part, values)
        return nnx.merge(graph, *parts, _begin(streams, jax.random.key(0) if key is None else key))

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        return _values(make(nnx.Rngs(key)))

    def call(params: Params, state: ModelState, x: jax.Array, key: Key) -> tuple[Any, ModelState]:
        module = build(params, state, key)
        module.eval() if key is None else module.train()
        return module(x), _values(module)[1]

    def statistics(params: Params, state: ModelState, x: jax.Array) -> ModelState:
        def after(start: Any) -> Any:
            module = build(params, state | {"averages": start}, None)
            module.set_attributes(deterministic=True, use_running_average=False, raise_if_not_found=False)
            module(x)
            return _values(module)[1]["averages"]

        return state | {"averages": averages(after, state["averages"])}

    averaged = jax.tree.leaves(abstract[1])
    return make_task(init, call, shape, kind, loss, metrics, statistics if averaged else None)


def _split(module: nnx.Module) -> tuple[Any, ...]:
    """Return the structure of a module, its parameters, running averages, other variables, random streams, the rest."""
    graph, params, averaged, streams, sown, others = nnx.split(
        module, nnx.Param, nnx.BatchStat, nnx.RngState, nnx.Intermediate, ...
    )
    return graph, params, averaged, others, streams, sown


def _values(module: nnx.Module) -> tuple[Params, ModelState]:
    """Return the parameters and the model state of a module as dicts of arrays."""
    _, params, averaged, others, *_ = _split(module)
    state = {"averages": nnx.to_pure_dict(averaged), "others": nnx.to_pure_dict(others)}
    return nnx.to_pure_dict(params), {name: values for name, values in state.items() if values}


def _begin(streams: Any, key: jax.Array) -> Any:
    """Return random streams at their beginning, each with a key of its own."""
    leaves, structure = jax.tree.flatten(streams)
    begun = [
        jax.random.split(jax.random.fold_in(key, i), leaf.shape) if is_key(leaf) else jnp.zeros_like(leaf)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(structure, begun)
