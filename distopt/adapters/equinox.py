"""Make a task from an Equinox module; needs the package `equinox`."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from distopt.adapters import Each, accepted, averages, make_task
from distopt.records import Kind, Metric
from distopt.rules import Params
from distopt.tasks import Key, ModelState, Task

AXIS = "batch"


def equinox_task(
    make: Callable[[jax.Array], Any],
    shape: tuple[int, ...],
    kind: Kind = "classes",
    *,
    loss: Each | None = None,
    metrics: Mapping[Metric, Each] | None = None,
) -> Task:
    """Make a task from a function that builds an Equinox module, which is called with one example.

    It is called as `module(x)`, and gets what it has parameters for of `key`, None when it is evaluated, and `state`;
    with a state it returns outputs and the new state. The axis of the batch has the name `batch`. All floating-point
    arrays are trained, by the names of their attributes.

    Args:
        make: builds the module from a key.
        shape: of one example.
        kind: of the data; `distopt.adapters.make_task` says what the outputs are, which have no batch axis here.
        loss: minimized instead of the kind's.
        metrics: measured beside `loss`.
    """
    build = eqx.nn.make_with_state(make)
    model, state = build(jax.random.key(0))
    trained, fixed = eqx.partition(model, eqx.is_inexact_array)
    structure, names, markers = jax.tree.structure(trained), tuple(_named(trained)), tuple(_kept(state))
    norms = [node for node in jax.tree.leaves(model, is_leaf=_is_norm) if _is_norm(node)]
    running = {index.marker for norm in norms for index in (norm.ema_state_index, norm.batch_state_index) if index}
    counters = {norm.batch_counter.marker for norm in norms if norm.batch_counter}

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        model, state = build(key)
        return _named(eqx.filter(model, eqx.is_inexact_array)), _kept(state)

    def run(params: Params, state: ModelState, x: jax.Array, key: Key, mode: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Call the module, in a mode, with every example of a batch."""
        model = mode(eqx.combine(jax.tree.unflatten(structure, [params[name] for name in names]), fixed))
        keys = None if key is None else jax.random.split(key, len(x))

        def one(x: jax.Array, state: Any, key: Key) -> tuple[Any, Any]:
            given = accepted(model, state=state, key=key)
            return model(x, **given) if "state" in given else (model(x, **given), state)

        values = eqx.nn.State.tree_unflatten(markers, [state[marker] for marker in markers])
        over = jax.vmap(one, in_axes=(0, None, 0), out_axes=(0, None), axis_name=AXIS)
        outputs, after = over(x, values, keys)
        return outputs, _kept(after)

    def call(params: Params, state: ModelState, x: jax.Array, key: Key) -> tuple[Any, ModelState]:
        return run(params, state, x, key, lambda model: eqx.nn.inference_mode(model, key is None))

    def statistics(params: Params, state: ModelState, x: jax.Array) -> ModelState:
        def after(start: Any) -> Any:
            changed = run(params, state | start, x, None, _normalizing)[1]
            return {marker: changed[marker] for marker in start}

        # Of these averages no share is that of their initial value, for which a counter of batches would make up.
        begun = {marker: jnp.zeros_like(state[marker]) for marker in counters}
        return state | averages(after, {marker: state[marker] for marker in running}) | begun

    return make_task(init, call, shape, kind, loss, metrics, statistics if running else None)


def _named(tree: Any) -> dict[str, jax.Array]:
    """Return the leaves of a module by the names of their attributes, e.g. `layers/0/weight`, in its order."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _kept(state: eqx.nn.State) -> ModelState:
    """Return the state of a module by the names of its parts."""
    values, markers = state.tree_flatten()
    return dict(zip(markers, values, strict=True))


def _is_norm(node: Any) -> bool:
    return isinstance(node, eqx.nn.BatchNorm)


def _normalizing(model: Any) -> Any:
    """Return a module that normalizes as in training, and is otherwise as in evaluation."""
    model = eqx.nn.inference_mode(model)

    def inside(model: Any) -> list[Any]:
        return [node.inference for node in jax.tree.leaves(model, is_leaf=_is_norm) if _is_norm(node)]

    return eqx.tree_at(inside, model, replace_fn=lambda _: False)
