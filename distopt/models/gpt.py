"""A decoder of the GPT family: pre-norm blocks of causal attention and a perceptron, with tied embeddings.

Source: A. Radford et al., "Language Models are Unsupervised Multitask Learners", 2019; initial values as in nanoGPT:
N(0, 0.02²), projections back into the residual stream N(0, 0.02² / 2L), so that the first loss is about ln V.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from distopt.adapters.linen import linen_task
from distopt.tasks import Task

SPREAD = 0.02  # standard deviation of initial weights
SCANNED = 6  # layers from which one compiled layer is run several times


class Layer(nn.Module):
    """x + attention(norm(x)), then x + perceptron(norm(x)) with GELU; shapes (batch, T, width)."""

    heads: int
    layers: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> tuple[jax.Array, None]:
        """Map the residual stream to itself."""
        width = x.shape[-1]
        inwards, outwards = (nn.initializers.normal(s) for s in (SPREAD, SPREAD / math.sqrt(2 * self.layers)))
        drop = nn.Dropout(self.dropout, deterministic=not train)
        y = nn.Dense(3 * width, use_bias=False, kernel_init=inwards)(nn.LayerNorm(use_bias=False)(x))
        q, k, v = (part.reshape(*x.shape[:2], self.heads, -1) for part in jnp.split(y, 3, axis=-1))
        y = jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(x.shape)
        x = x + drop(nn.Dense(width, use_bias=False, kernel_init=outwards)(y))
        y = nn.Dense(4 * width, use_bias=False, kernel_init=inwards)(nn.LayerNorm(use_bias=False)(x))
        return x + drop(nn.Dense(width, use_bias=False, kernel_init=outwards)(nn.gelu(y))), None


class GPT(nn.Module):
    """Token and position embeddings, layers, a last norm, and the logits of the next token."""

    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int
    dropout: float
    tied: bool

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Map tokens (batch, T), T at most the context, to logits (batch, T, vocabulary)."""
        weights = nn.initializers.normal(SPREAD)
        embedding = nn.Embed(self.vocabulary, self.width, embedding_init=weights, name="embedding")
        places = self.param("positions", weights, (self.context, self.width))
        h = nn.Dropout(self.dropout, deterministic=not train)(embedding(x) + places[: x.shape[1]])
        arguments = (self.heads, self.layers, self.dropout)
        if self.layers < SCANNED:
            for i in range(self.layers):
                h, _ = Layer(*arguments, name=f"layer{i}")(h, train)
        else:  # activations inside a layer are computed again, which saves memory and compiles faster
            kept = nn.remat(Layer, static_argnums=(2,), prevent_cse=False)
            stack = nn.scan(
                kept, variable_axes={"params": 0}, split_rngs={"params": True, "dropout": True}, in_axes=nn.broadcast,
                length=self.layers,
            )  # fmt: skip
            h, _ = stack(*arguments, name="layers")(h, train)
        h = nn.LayerNorm(use_bias=False)(h)
        return embedding.attend(h) if self.tied else nn.Dense(self.vocabulary, use_bias=False, kernel_init=weights)(h)


def gpt(
    *,
    shape: tuple[int, ...],
    classes: int,
    width: int,
    layers: int,
    heads: int,
    dropout: float = 0.0,
    tied: bool = True,
) -> Task:
    """Build a language model.

    Args:
        shape: (T,), the context.
        classes: V, the number of different tokens.
        width: of the residual stream, a multiple of `heads`.
        layers: L.
        heads: of attention.
        dropout: fraction of activations dropped in training, in [0, 1).
        tied: the output layer has the weights of the embedding.

    Raises:
        ValueError: sizes out of range.
    """
    for name, value in (("width", width), ("layers", layers), ("heads", heads)):
        if type(value) is not int or value < 1:
            raise ValueError(f"model.{name}={value} must be a whole number > 0")
    if width % heads:
        raise ValueError(f"model.width={width} must be a multiple of model.heads={heads}")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"model.dropout={dropout} must be in [0, 1)")
    if not isinstance(tied, bool):
        raise ValueError(f"model.tied={tied} must be true or false")
    (context,) = shape
    module = GPT(classes, context, width, layers, heads, float(dropout), tied)
    return linen_task(module, shape, "tokens")
