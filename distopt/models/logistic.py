"""Multinomial logistic regression: one dense layer, a convex problem."""

from distopt.models.mlp import mlp
from distopt.tasks import Task


def logistic(*, shape: tuple[int, ...], classes: int) -> Task:
    """Build multinomial logistic regression on flattened examples."""
    return mlp(shape=shape, classes=classes, hidden=())
