"""Linear regression: one dense layer, a convex problem."""

from distopt.models.mlp import mlp
from distopt.models.ridge import ridge
from distopt.tasks import Task


def linear(*, shape: tuple[int, ...], classes: int, l2: float = 0.0, sparse: bool = False) -> Task:
    """Build linear regression of a number on flattened examples.

    Args:
        shape: of one example.
        classes: 1.
        l2: λ of the penalty λ/2 ‖w‖²; the intercept is free.
        sparse: features are pairs (index, value).

    Raises:
        ValueError: λ is negative.
    """
    return mlp(shape=shape, classes=classes, hidden=(), kind="numbers", sparse=sparse)._replace(penalty=ridge(l2))
