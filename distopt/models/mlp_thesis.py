"""The thesis's perceptron 784-1000-2000-1000-10 with ReLU: 4,798,010 parameters.

Source: J. Hermans 2017, chapter 3. Initial values are Flax's defaults (LeCun normal weights, zero biases); Keras's are
Glorot uniform.
"""

import math

from distopt.models.mlp import mlp
from distopt.tasks import Task


def mlp_thesis(*, shape: tuple[int, ...], classes: int) -> Task:
    """Build the thesis's perceptron for 784 features and 10 classes.

    Raises:
        ValueError: examples of another size, or another number of classes.
    """
    if math.prod(shape) != 784 or classes != 10:
        raise ValueError(
            f"takes 28x28 images of 10 classes, the data set has shape {list(shape)} and {classes} classes: "
            "use model=mlp, or dataset=mnist or fashion_mnist"
        )
    return mlp(shape=shape, classes=classes, hidden=(1000, 2000, 1000))
