"""Make a task from a Flax module: softmax cross-entropy over classes, or squared error of numbers."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from distopt.models.dense import Sparse
from distopt.records import Kind
from distopt.rules import Params
from distopt.tasks import Batch, Key, ModelState, Task, classes, labels, numbers

Mode = bool | Literal["statistics"]
"""How a module is called: evaluation, training, or normalizing as in training without dropout."""
SPARSE_AT_ONCE = 250  # samples evaluated together: each has its own copy of the rows of a kernel that it reads
STATISTICS = "batch_stats"  # Flax's collection of running averages


def classifier(module: nn.Module, shape: tuple[int, ...], kind: Kind = "classes", sparse: bool = False) -> Task:
    """Wrap a Flax module that maps examples of `shape` to logits, or for `numbers` to one output each.

    The module is called as `module(x, train=...)`; it may use the random stream `dropout`, and mutable collections such
    as `batch_stats`, which become the model state. With `train="statistics"` it normalizes as in training but drops
    nothing. With `sparse`, examples are pairs (index, value) of features (d,), and the module takes `Sparse`.
    """

    def features(x: Any) -> Any:
        return Sparse(*x, *shape) if sparse else x

    def started(key: jax.Array) -> tuple[jax.Array, Any]:
        empty = (jnp.full((1, 1), shape[0], jnp.int32), jnp.zeros((1, 1))) if sparse else jnp.zeros((1, *shape))
        return module.init_with_output(key, features(empty), train=False)

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        variables = dict(started(key)[1])
        params = variables.pop("params")
        return params, variables

    def forward(params: Params, state: ModelState, batch: Batch, key: Key) -> tuple[jax.Array, ModelState]:
        x, train = features(batch[0]), key is not None
        variables = {"params": params, **state}
        rngs = {"dropout": key} if train else None
        if train and state:
            return module.apply(variables, x, train=True, rngs=rngs, mutable=list(state))
        return module.apply(variables, x, train=train, rngs=rngs), state

    def refresh(params: Params, state: ModelState, batch: Batch) -> ModelState:
        if STATISTICS not in state:
            return state
        x = features(batch[0])

        def after(start: Any) -> Any:
            variables = {"params": params, **state, STATISTICS: start}
            rngs = {"dropout": jax.random.key(0)}  # for modules that drop in this mode all the same
            return module.apply(variables, x, train="statistics", rngs=rngs, mutable=[STATISTICS])[1][STATISTICS]

        # Running averages become m s + (1 - m) b; from s = 0 and s = 1 follow m, and b, the statistics of this batch.
        zeros, ones = (jax.tree.map(like, state[STATISTICS]) for like in (jnp.zeros_like, jnp.ones_like))
        low, high = after(zeros), after(ones)
        return {**state, STATISTICS: jax.tree.map(lambda a, b: a / (1 - (b - a)), low, high)}

    task = Task(init, forward, classes.measure, classes.METRICS, combine=classes.COMBINE, refresh=refresh)
    if kind in ("numbers", "labels"):
        what: Any = numbers if kind == "numbers" else labels
        task = task._replace(measure=what.measure, metrics=what.METRICS, finish=what.finish, sums=what.SUMS)
        task = task._replace(combine=what.COMBINE)
    if kind == "labels":
        task = task._replace(arrays=labels.arrays(jax.eval_shape(started, jax.random.key(0))[0].shape[-1]))
    return task._replace(at_once=SPARSE_AT_ONCE) if sparse else task
