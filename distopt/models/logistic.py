"""Multinomial logistic regression: one dense layer, a convex problem."""

from distopt.models.mlp import mlp
from distopt.models.ridge import ridge
from distopt.tasks import Task


def logistic(*, shape: tuple[int, ...], classes: int, l2: float = 0.0, sparse: bool = False) -> Task:
    """Build multinomial logistic regression on flattened examples.

    Args:
        shape: of one example.
        classes: number of logits.
        l2: λ of the penalty λ/2 ‖W‖²; the intercepts are free.
        sparse: features are pairs (index, value).

    Raises:
        ValueError: λ is negative.
    """
    return mlp(shape=shape, classes=classes, hidden=(), sparse=sparse)._replace(penalty=ridge(l2))
