"""A residual network for small images: a convolution, stages of residual blocks, a mean over pixels and a dense layer.

Source: K. He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2, the networks for CIFAR-10, with
shortcuts without parameters. Theirs of 20 layers is `blocks=[3,3,3] width=16 norm=batch`. Here the last gain of each
block is zero at first, so that all blocks begin as their shortcuts (P. Goyal et al. 2017, section 5.1).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from distopt.adapters.linen import Mode, linen_task
from distopt.models.convolution import Conv, check_images
from distopt.models.norms import norm
from distopt.records import Kind
from distopt.tasks import Task

NORMS = ("group", "batch")
AT_ONCE = 2**24  # numbers that the widest convolution may take when examples are evaluated together: 64 MiB


class Block(nn.Module):
    """relu(x + norm(conv(relu(norm(conv(x)))))); with stride 2, x has half the pixels and zeros as further channels."""

    features: int
    stride: int
    norm: str

    @nn.compact
    def __call__(self, x: jax.Array, train: Mode) -> jax.Array:
        """Map (batch, height, width, channels) to (batch, ⌈height / stride⌉, ⌈width / stride⌉, features)."""
        he = nn.initializers.he_normal()
        y = Conv(self.features, stride=self.stride, bias=False, kernel_init=he)(x)
        y = nn.relu(norm(self.norm, y, train))
        y = Conv(self.features, bias=False, kernel_init=he)(y)
        y = norm(self.norm, y, train, gain=nn.initializers.zeros_init())
        x = x[:, :: self.stride, :: self.stride]
        return nn.relu(y + jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, self.features - x.shape[-1]))))


class ResNet(nn.Module):
    """A 3×3 convolution and stages of blocks; from the second on, a stage halves the resolution, twice the channels."""

    blocks: tuple[int, ...]
    width: int
    norm: str
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: Mode) -> jax.Array:
        """Map images (batch, height, width[, channels]) to logits (batch, classes)."""
        x = x if x.ndim == 4 else x[..., None]
        x = Conv(self.width, bias=False, kernel_init=nn.initializers.he_normal())(x)
        x = nn.relu(norm(self.norm, x, train))
        for stage, blocks in enumerate(self.blocks):
            for block in range(blocks):
                x = Block(self.width * 2**stage, 2 if stage and not block else 1, self.norm)(x, train)
        return nn.Dense(self.classes)(x.mean(axis=(1, 2)))


def resnet(
    *,
    shape: tuple[int, ...],
    classes: int,
    blocks: Sequence[int],
    width: int,
    norm: str = "group",
    kind: Kind = "classes",
) -> Task:
    """Build the residual network, of 2 Σ blocks + 2 layers.

    Args:
        shape: of one image, (height, width) or (height, width, channels), at least 8×8.
        classes: number of logits, 1 for numbers.
        blocks: in each stage.
        width: channels of the first stage.
        norm: one of `NORMS`.
        kind: of the data.

    Raises:
        ValueError: examples that are no images, sizes out of range, or no such norm.
    """
    check_images(shape)
    stages = list(blocks) if isinstance(blocks, Sequence) else []
    if not stages or not all(type(count) is int and count > 0 for count in stages):
        raise ValueError(f"model.blocks={blocks} must be a list of whole numbers > 0, one for each stage")
    if type(width) is not int or width < 1:
        raise ValueError(f"model.width={width} must be a whole number > 0")
    if not isinstance(norm, str) or norm not in NORMS:
        raise ValueError(f"model.norm={norm} must be one of {', '.join(NORMS)}")
    widest = 9 * width * shape[0] * shape[1]
    task = linen_task(ResNet(tuple(stages), width, norm, classes), shape, kind)
    return task._replace(at_once=min(task.at_once, max(1, AT_ONCE // widest)))
