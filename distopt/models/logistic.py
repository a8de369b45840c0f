"""Logistic regression: one dense layer, a convex problem; multinomial, or one for each of several labels."""

from distopt.models.mlp import mlp
from distopt.models.ridge import ridge
from distopt.records import Kind
from distopt.tasks import Task


def logistic(
    *, shape: tuple[int, ...], classes: int, l2: float = 0.0, kind: Kind = "classes", sparse: bool = False
) -> Task:
    """Build logistic regression on flattened examples.

    Args:
        shape: of one example.
        classes: number of logits.
        l2: λ of the penalty λ/2 ‖W‖²; the intercepts are free.
        kind: of the data.
        sparse: features are pairs (index, value).

    Raises:
        ValueError: λ is negative.
    """
    return mlp(shape=shape, classes=classes, hidden=(), kind=kind, sparse=sparse)._replace(penalty=ridge(l2))
