"""Multilayer perceptron: dense layers with activation, norm and dropout of choice, and a dense layer at the end."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from distopt.adapters.linen import Mode, linen_task
from distopt.models.dense import AT_ONCE, Dense, each, flat
from distopt.models.norms import norm
from distopt.records import Kind
from distopt.tasks import Task


def maxout(x: jax.Array) -> jax.Array:
    """Return the larger of each unit's two pieces, of features (..., 2 h) as (..., h) (Goodfellow et al. 2013).

    Not `max`, whose gradient goes where a piece equals the maximum: a compiler that computes either of them twice, and
    rounds it otherwise, finds no such place, and the gradient is lost.
    """
    first, second = jnp.moveaxis(x.reshape(*x.shape[:-1], -1, 2), -1, 0)
    return jnp.where(first >= second, first, second)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "tanh": nn.tanh,
    "gelu": nn.gelu,
    "maxout": maxout,
}
NORMS = ("none", "batch", "layer", "group", "whitening")


class MLP(nn.Module):
    """Dense layers of the given sizes, each with norm, activation and dropout, then one output per class."""

    hidden: tuple[int, ...]
    classes: int
    dropout: float = 0.0
    dropout_input: float = 0.0
    activation: str = "relu"
    norm: str = "none"

    @nn.compact
    def __call__(self, x: Any, train: Mode) -> jax.Array:
        """Map examples (batch, ...), or sparse ones, to logits (batch, classes)."""
        x = flat(x)
        drops = train is True
        if self.dropout_input:
            x = each(nn.Dropout(self.dropout_input, deterministic=not drops), x)
        for size in self.hidden:
            x = Dense(size * (2 if self.activation == "maxout" else 1))(x)
            x = norm(self.norm, x, train)
            x = ACTIVATIONS[self.activation](x)
            if self.dropout:
                x = nn.Dropout(self.dropout, deterministic=not drops)(x)
        return Dense(self.classes)(x)


def mlp(
    *,
    shape: tuple[int, ...],
    classes: int,
    hidden: Sequence[int],
    dropout: float = 0.0,
    dropout_input: float = 0.0,
    activation: str = "relu",
    norm: str = "none",
    kind: Kind = "classes",
    sparse: bool = False,
) -> Task:
    """Build a multilayer perceptron.

    Args:
        shape: of one example; flattened.
        classes: number of logits, 1 for numbers.
        hidden: sizes of the hidden layers.
        dropout: fraction of hidden units dropped in training, in [0, 1).
        dropout_input: fraction of inputs dropped in training, in [0, 1).
        activation: one of `ACTIVATIONS`.
        norm: of the hidden layers, before the activation; one of `NORMS`.
        kind: of the data.
        sparse: features are pairs (index, value).

    Raises:
        ValueError: sizes or dropout out of range, or no such activation or norm.
    """
    if not all(isinstance(size, int) and size > 0 for size in hidden):
        raise ValueError(f"model.hidden={list(hidden)} must be a list of whole numbers > 0")
    for name, value in (("dropout", dropout), ("dropout_input", dropout_input)):
        if not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError(f"model.{name}={value} must be in [0, 1)")
    for name, choice, choices in (("activation", activation, ACTIVATIONS), ("norm", norm, NORMS)):
        if not isinstance(choice, str) or choice not in choices:
            raise ValueError(f"model.{name}={choice} must be one of {', '.join(choices)}")
    module = MLP(tuple(hidden), classes, float(dropout), float(dropout_input), activation, norm)
    task = linen_task(module, shape, kind)
    return task._replace(at_once=AT_ONCE) if sparse else task
