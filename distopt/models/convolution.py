"""Convolutions in the form that is fast on the device: on a CPU as shifted slices and one matrix product.

XLA's convolutions on a CPU are several times slower inside a loop, where local steps are, than outside of one.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer


class Conv(nn.Module):
    """A two-dimensional convolution with a bias and zero padding that keeps the size, ⌈n / stride⌉.

    Parameters, initial values and results up to rounding are those of `flax.linen.Conv`.
    """

    features: int
    kernel: tuple[int, int] = (3, 3)
    stride: int = 1
    bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    sliced: bool | None = None  # None: on a CPU

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Map images (batch, height, width, channels) to (batch, ⌈height / stride⌉, ⌈width / stride⌉, features)."""
        shape = (*self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        sliced = jax.default_backend() == "cpu" if self.sliced is None else self.sliced
        if sliced:
            y = by_slices(x, kernel, self.stride)
        else:
            strides, layout = (self.stride, self.stride), ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(x, kernel, strides, "SAME", dimension_numbers=layout)
        return y + self.param("bias", nn.initializers.zeros_init(), (self.features,)) if self.bias else y


def by_slices(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Return the convolution Σ_{ij} x[s·h + i, s·w + j] K[i, j]: each shift is a slice, all of them one product.

    Args:
        x: images, shape (batch, height, width, channels).
        kernel: K, shape (i, j, channels, features).
        stride: s.
    """
    sizes = [-(-n // stride) for n in x.shape[1:3]]
    pads = []
    for n, size, k in zip(x.shape[1:3], sizes, kernel.shape, strict=False):
        total = max((size - 1) * stride + k - n, 0)
        pads.append((total // 2, total - total // 2))
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    ends = [(size - 1) * stride + 1 for size in sizes]
    shifts = [
        x[:, i : i + ends[0] : stride, j : j + ends[1] : stride]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    ]
    return jnp.concatenate(shifts, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def check_images(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless examples are images of at least 8×8 pixels."""
    if len(shape) not in (2, 3) or min(shape[:2]) < 8:
        raise ValueError(
            f"takes images of shape [height, width] or [height, width, channels], at least 8x8; the data set has shape "
            f"{list(shape)}: use model=mlp"
        )
