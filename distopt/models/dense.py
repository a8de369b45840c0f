"""A dense layer whose features may be sparse."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Sparse:
    """Features of which most are 0: row n is Σₖ value[n, k] e(index[n, k]), of `size` features.

    Rows are padded to one length with the index `size`, which is no feature, and the value 0. This takes memory and
    time in proportion to the longest row, whatever the number of features.
    """

    index: jax.Array  # int32, shape (batch, K)
    value: jax.Array  # float32, shape (batch, K)
    size: int = struct.field(pytree_node=False)


class Dense(nn.Dense):
    """x W + b, with the parameters of `flax.linen.Dense`, whether features are sparse or not.

    Of sparse features only the rows of W are read that the batch has, and the gradient of all others is 0.
    """

    @nn.compact
    def __call__(self, x: jax.Array | Sparse) -> jax.Array:
        """Map features (batch, d) to (batch, features)."""
        if not isinstance(x, Sparse):
            return super().__call__(x)
        kernel = self.param("kernel", self.kernel_init, (x.size, self.features), self.param_dtype)
        rows = kernel.at[x.index].get(mode="fill", fill_value=0)
        y: Any = jnp.sum(rows * x.value[..., None], axis=-2)
        return y + self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else y


def flat(x: jax.Array | Sparse) -> Any:
    """Return features of any shape as rows (batch, d); sparse ones are such rows."""
    return x if isinstance(x, Sparse) else x.reshape(x.shape[0], -1)


def each(change: Callable[[jax.Array], jax.Array], x: jax.Array | Sparse) -> Any:
    """Return features, each changed for itself; 0 must stay 0."""
    return x.replace(value=change(x.value)) if isinstance(x, Sparse) else change(x)  # type: ignore[attr-defined]
