"""Make a task from a Flax module: softmax cross-entropy over classes, or squared error of numbers."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from distopt.records import Kind
from distopt.rules import Params
from distopt.tasks import Batch, Key, ModelState, Task, classes, numbers


def classifier(module: nn.Module, shape: tuple[int, ...], kind: Kind = "classes") -> Task:
    """Wrap a Flax module that maps examples of `shape` to logits, or for `numbers` to one output each.

    The module is called as `module(x, train=...)`; it may use the random stream `dropout`, and mutable collections such
    as `batch_stats`, which become the model state.
    """

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        variables = dict(module.init(key, jnp.zeros((1, *shape), jnp.float32), train=False))
        params = variables.pop("params")
        return params, variables

    def forward(params: Params, state: ModelState, batch: Batch, key: Key) -> tuple[jax.Array, ModelState]:
        x, train = batch[0], key is not None
        variables = {"params": params, **state}
        rngs = {"dropout": key} if train else None
        if train and state:
            return module.apply(variables, x, train=True, rngs=rngs, mutable=list(state))
        return module.apply(variables, x, train=train, rngs=rngs), state

    if kind == "numbers":
        return Task(init, forward, numbers.measure, numbers.METRICS, numbers.finish, numbers.SUMS, numbers.COMBINE)
    return Task(init, forward, classes.measure, classes.METRICS, combine=classes.COMBINE)
