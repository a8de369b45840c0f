"""A small convolutional network for 28×28 and 32×32×3 images: two strided convolutions and a dense layer.

Strided convolutions replace pooling, because the backward pass of max-pooling is not deterministic on GPUs.
"""

import flax.linen as nn
import jax

from distopt.adapters.linen import linen_task
from distopt.models.convolution import Conv, check_images
from distopt.records import Kind
from distopt.tasks import Task


class CNN(nn.Module):
    """Two 3×3 convolutions with stride 2 and ReLU, a dense layer with ReLU, then one logit per class."""

    features: int
    hidden: int
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map images (batch, height, width[, channels]) to logits (batch, classes)."""
        del train
        x = x if x.ndim == 4 else x[..., None]
        x = nn.relu(Conv(self.features, stride=2)(x))
        x = nn.relu(Conv(2 * self.features, stride=2)(x))
        x = nn.relu(nn.Dense(self.hidden)(x.reshape(x.shape[0], -1)))
        return nn.Dense(self.classes)(x)


def cnn(*, shape: tuple[int, ...], classes: int, features: int, hidden: int, kind: Kind = "classes") -> Task:
    """Build the convolutional network.

    Args:
        shape: of one image, (height, width) or (height, width, channels), at least 8×8.
        classes: number of logits.
        features: channels of the first convolution; the second has twice as many.
        hidden: units of the dense layer.
        kind: of the data.

    Raises:
        ValueError: examples that are no images, or sizes out of range.
    """
    check_images(shape)
    for name, value in (("features", features), ("hidden", hidden)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"model.{name}={value} must be a whole number > 0")
    return linen_task(CNN(features, hidden, classes), shape, kind)
