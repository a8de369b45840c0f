"""A dense layer whose features may be sparse.

Of sparse features most are 0. They are a pair (index, value), int32 and float32 of shape (batch, K): row n is
Σₖ value[n, k] e(index[n, k]). Rows are padded to one length with an index beyond the last feature and the value 0.
Memory and time are in proportion to the longest row, whatever the number of features.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

AT_ONCE = 250  # sparse samples evaluated together: each has its own copy of the rows of the kernel that it reads


class Dense(nn.Dense):
    """x W + b, with the parameters of `flax.linen.Dense`, of features that may be sparse.

    It is initialized with dense features. Of sparse ones only the rows of W are read that the batch has, and the
    gradient of all others is 0.
    """

    @nn.compact
    def __call__(self, x: Any) -> jax.Array:
        """Map features (batch, d), or sparse ones, to (batch, features)."""
        if not isinstance(x, tuple):
            return super().__call__(x)
        index, value = x
        rows = self.get_variable("params", "kernel").at[index].get(mode="fill", fill_value=0)
        y: Any = jnp.sum(rows * value[..., None], axis=-2)
        return y + self.get_variable("params", "bias") if self.use_bias else y


def flat(x: Any) -> Any:
    """Return features of any shape as rows (batch, d); sparse ones are such rows."""
    return x if isinstance(x, tuple) else x.reshape(x.shape[0], -1)


def each(change: Callable[[jax.Array], jax.Array], x: Any) -> Any:
    """Return features, each changed for itself; 0 must stay 0."""
    return (x[0], change(x[1])) if isinstance(x, tuple) else change(x)
