"""Wide and deep: a linear model of sparse features, and a perceptron on the sum of their embeddings.

Source: H.-T. Cheng et al., "Wide & Deep Learning for Recommender Systems", arXiv 1606.07792, equation 3. There the two
parts have optimizers of their own; here the local method trains both.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax

from distopt.adapters.linen import linen_task
from distopt.models.dense import AT_ONCE, Dense
from distopt.records import Kind
from distopt.settings import require_number, require_whole
from distopt.tasks import Task


class WideDeep(nn.Module):
    """x W + b + the last layer of a perceptron, whose input is Σₖ value[k] embedding(index[k])."""

    embedding: int
    hidden: tuple[int, ...]
    classes: int
    dropout: float

    @nn.compact
    def __call__(self, x: Any, train: bool) -> jax.Array:
        """Map sparse features to logits (batch, classes)."""
        wide = Dense(self.classes, kernel_init=nn.initializers.zeros, name="wide")(x)
        spread = nn.initializers.normal(self.embedding**-0.5)
        h = Dense(self.embedding, use_bias=False, kernel_init=spread, name="embedding")(x)
        for size in self.hidden:
            h = nn.relu(nn.Dense(size)(h))
            if self.dropout:
                h = nn.Dropout(self.dropout, deterministic=not train)(h)
        return wide + nn.Dense(self.classes, use_bias=False)(h)


def wide_deep(
    *,
    shape: tuple[int, ...],
    classes: int,
    embedding: int,
    hidden: Sequence[int],
    dropout: float = 0.0,
    kind: Kind = "classes",
    sparse: bool = False,
) -> Task:
    """Build a wide and deep model.

    Args:
        shape: (d,), the number of features.
        classes: number of logits.
        embedding: numbers in the embedding of a feature.
        hidden: sizes of the hidden layers.
        dropout: fraction of hidden units dropped in training, in [0, 1).
        kind: of the data.
        sparse: features are pairs (index, value), as they have to be.

    Raises:
        ValueError: sizes or dropout out of range, or features that are not sparse.
    """
    if not sparse:
        raise ValueError("takes sparse features (dataset=svmlight); use model=mlp for those of the data set")
    require_whole("model.embedding", embedding)
    for size in hidden:
        require_whole("model.hidden", size)
    require_number("model.dropout", dropout, positive=False, most=1, below=True)
    task = linen_task(WideDeep(embedding, tuple(hidden), classes, float(dropout)), shape, kind)
    return task._replace(at_once=AT_ONCE)
