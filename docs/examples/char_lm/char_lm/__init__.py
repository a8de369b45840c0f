"""A language model of bytes: an embedding, a recurrent layer and the logits of the next byte."""

import jax
from flax import nnx

from distopt.adapters.nnx import nnx_task
from distopt.settings import require_number, require_whole
from distopt.tasks import Task


class CharLM(nnx.Module):
    """Reads a text from left to right; every block of the text begins with an empty memory."""

    def __init__(self, vocabulary: int, width: int, dropout: float, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Embed(vocabulary, width, rngs=rngs)
        self.memory = nnx.RNN(nnx.GRUCell(width, width, rngs=rngs))
        self.drop = nnx.Dropout(dropout, rngs=rngs)
        self.out = nnx.Linear(width, vocabulary, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map tokens (batch, T) to logits of each next token (batch, T, vocabulary)."""
        return self.out(self.drop(self.memory(self.embedding(x))))


def char_lm(*, shape: tuple[int, ...], classes: int, kind: str, width: int, dropout: float) -> Task:
    """Build the model; `shape` is (T,), `classes` the number of different tokens."""
    if kind != "tokens":
        raise ValueError("takes a text: dataset=pydoc, or dataset=text dataset.file=FILE")
    require_whole("width", width)
    require_number("dropout", dropout, positive=False, most=1, below=True)
    return nnx_task(lambda rngs: CharLM(classes, width, dropout, rngs), shape, kind)
