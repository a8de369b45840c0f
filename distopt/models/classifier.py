"""Make a `Model` from a Flax module: softmax cross-entropy over classes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from distopt.models import Batch, Key, Model, ModelState
from distopt.rules import Params


def classifier(module: nn.Module, shape: tuple[int, ...]) -> Model:
    """Wrap a Flax module that maps examples of `shape` to logits.

    The module is called as `module(x, train=...)`; it may use the random stream `dropout`, and mutable collections such
    as `batch_stats`, which become the model state.
    """

    def logits(params: Params, state: ModelState, x: jax.Array) -> jax.Array:
        return module.apply({"params": params, **state}, x, train=False)

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        variables = dict(module.init(key, jnp.zeros((1, *shape), jnp.float32), train=False))
        params = variables.pop("params")
        return params, variables

    def loss(
        params: Params, state: ModelState, batch: Batch, key: Key
    ) -> tuple[jax.Array, tuple[ModelState, jax.Array]]:
        x, y = batch
        train = key is not None
        variables = {"params": params, **state}
        if train and state:
            logits, state = module.apply(variables, x, train=True, rngs={"dropout": key}, mutable=list(state))
        else:
            logits = module.apply(variables, x, train=train, rngs={"dropout": key} if train else None)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, y)
        return jnp.mean(losses), (state, jnp.mean(jnp.argmax(logits, axis=-1) == y))

    return Model(init, loss, logits=logits)
