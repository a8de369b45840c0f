"""Linear regression: one dense layer, a convex problem."""

from distopt.models.mlp import mlp
from distopt.tasks import Task


def linear(*, shape: tuple[int, ...], classes: int) -> Task:
    """Build linear regression of a number on flattened examples."""
    return mlp(shape=shape, classes=classes, hidden=(), kind="numbers")
