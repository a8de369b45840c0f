"""Multilayer perceptron: dense layers with ReLU, logits at the end."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from distopt.models.classifier import classifier
from distopt.records import Kind
from distopt.tasks import Task


class MLP(nn.Module):
    """Dense layers of the given sizes with ReLU and optional dropout, then one logit per class."""

    hidden: tuple[int, ...]
    classes: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map examples (batch, ...) to logits (batch, classes)."""
        x = x.reshape(x.shape[0], -1)
        for size in self.hidden:
            x = nn.relu(nn.Dense(size)(x))
            if self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.classes)(x)


def mlp(
    *, shape: tuple[int, ...], classes: int, hidden: Sequence[int], dropout: float = 0.0, kind: Kind = "classes"
) -> Task:
    """Build a multilayer perceptron.

    Args:
        shape: of one example; flattened.
        classes: number of logits, 1 for numbers.
        hidden: sizes of the hidden layers.
        dropout: fraction of hidden units dropped in training, in [0, 1).
        kind: of the data.

    Raises:
        ValueError: sizes or dropout out of range.
    """
    if not all(isinstance(size, int) and size > 0 for size in hidden):
        raise ValueError(f"model.hidden={list(hidden)} must be a list of whole numbers > 0")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"model.dropout={dropout} must be in [0, 1)")
    return classifier(MLP(tuple(hidden), classes, float(dropout)), shape, kind)
