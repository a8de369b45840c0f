"""Multinomial logistic regression: one dense layer, a convex problem."""

from distopt.models import Model
from distopt.models.mlp import mlp


def logistic(*, shape: tuple[int, ...], classes: int) -> Model:
    """Build multinomial logistic regression on flattened examples."""
    return mlp(shape=shape, classes=classes, hidden=())
