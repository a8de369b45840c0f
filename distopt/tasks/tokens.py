"""Language models: the next token of a text, at every position of a block."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distopt.records import BYTES, LOSS, Metric
from distopt.rules import Params
from distopt.tasks import Batch, Key, ModelState, Outputs, Sums, Task, classes

PER_BYTE, PER_TOKEN = Metric("bits_per_byte"), Metric("bits_per_token")
METRICS = (PER_BYTE, LOSS, Metric("perplexity", format=".2f"))
SUMS = ("loss",)
AT_ONCE = 4096  # tokens evaluated together
WRITTEN, TEMPERATURE = 300, 0.8  # bytes of the sample of text, and how boldly they are drawn
COMBINE = classes.COMBINE  # a position is a sample with as many classes as there are tokens


def told(task: Task, vocabulary: int) -> Task:
    """Return a task that tells its bits per token, unless its tokens are bytes."""
    if vocabulary == BYTES or task.finish is not finish:
        return task
    return task._replace(metrics=tuple(PER_TOKEN if metric == PER_BYTE else metric for metric in task.metrics))


def measure(logits: jax.Array, batch: Batch) -> Sums:
    """Return the sum of −w log p of each next token, in nats, and that of w, over the positions of a batch.

    Args:
        logits: of the next token, shape (batch, T, V).
        batch: blocks of T + 1 tokens, an array of integers of shape (batch, T + 1), and of documents the weights w of
            the predictions, shape (batch, T); without them each counts 1.
    """
    blocks, *weights = batch
    nll = optax.softmax_cross_entropy_with_integer_labels(logits, blocks[:, 1:].astype(jnp.int32))
    if not weights:
        return {"loss": (jnp.sum(nll), jnp.float32(nll.size))}
    w = weights[0].astype(jnp.float32)
    return {"loss": (jnp.sum(w * nll), jnp.sum(w))}


def finish(sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
    """Return nats per token, e to that power, and bits per token, nats / ln 2, which are bits per byte for bytes."""
    total, weight = sums["loss"]
    loss = total / weight
    bits = loss / math.log(2)
    return {"bits_per_byte": bits, "bits_per_token": bits, "loss": loss, "perplexity": xp.exp(loss)}


def write(
    forward: Callable[[Params, ModelState, Batch, Key], tuple[Outputs, ModelState]],
    context: int,
    params: Params,
    state: ModelState,
    key: jax.Array,
) -> str | None:
    """Return a text that the model writes after an empty line, byte by byte, drawn at `TEMPERATURE`.

    None if its tokens are no bytes.
    """

    def logits(text: jax.Array, i: Any) -> jax.Array:
        block = jax.lax.dynamic_slice(text, (i - context,), (context + 1,))  # its last token is not read
        return forward(params, state, (block[None],), None)[0][0, -1]

    def one(i: jax.Array, text: jax.Array) -> jax.Array:
        drawn = jax.random.categorical(jax.random.fold_in(key, i), logits(text, i) / TEMPERATURE)
        return text.at[i].set(drawn.astype(text.dtype))

    empty = jnp.full(context + WRITTEN, ord("\n"), jnp.uint8)
    if jax.eval_shape(logits, empty, context).shape != (BYTES,):
        return None
    text = jax.jit(lambda text: jax.lax.fori_loop(context, len(text), one, text))(empty)
    return np.asarray(text[context:]).tobytes().decode(errors="replace")
