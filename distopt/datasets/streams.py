"""From a stream of tokens to a data set: blocks to train on, and blocks to validate on."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from distopt.datasets.blocks import Blocks, Weights
from distopt.datasets.dataset import Dataset
from distopt.datasets.mapped import Rowed, chunks
from distopt.errors import DataError
from distopt.records import BYTES


class Stream(NamedTuple):
    """Tokens in the order in which they are predicted."""

    tokens: Rowed  # integers, shape (n,)
    what: str  # where they come from
    told: str  # what is in them, in words


def text(content: Rowed, what: str, more: str = "") -> Stream:
    """Return the stream of the bytes of a text."""
    counts = np.zeros(BYTES, np.int64)
    for _, chunk in chunks(content):
        counts += np.bincount(chunk, minlength=BYTES)
    return Stream(content, what, f"{what}: {more}{len(content):,} bytes, {np.count_nonzero(counts)} different ones")


def cut(
    settings: Mapping[str, Any],
    train: Stream,
    validation: Stream | None = None,
    *,
    vocabulary: int = BYTES,
    unit: str = "bytes",
    documents: bool = False,
) -> Dataset:
    """Cut streams into blocks of `context` + 1 tokens, of which each shares one with the next.

    Block i is tokens[iT : iT + T + 1], so that every token is predicted once. Without a stream to validate on, the last
    `validation_fraction` of the blocks is held out: blocks from between the others would flatter every model. The
    tokens of `documents` have a separator between two of them, and weights as a second leaf.

    Raises:
        DataError: a stream is too short for a block.
    """
    context, fraction = settings["context"], settings["validation_fraction"]
    count, ways = (len(train.tokens) - 1) // context, ""
    if validation is None:
        held_out = int(count * fraction)
        places = ((train, 0, count - held_out), (train, count - held_out, held_out))
        ways = f" to train on and one to validate on (dataset.validation_fraction={fraction:g})"
    else:
        places = ((train, 0, count), (validation, 0, (len(validation.tokens) - 1) // context))
    for (tokens, what, _), _, blocks in places:
        if blocks < 1:
            raise DataError(
                f"dataset.context={context}: {what} has {len(tokens):,} {unit}, too few for a block of {context} "
                f"tokens{ways}"
            )
    kinds = (Blocks, Weights) if documents else (Blocks,)
    parts = [tuple(kind(tokens, context, *place) for kind in kinds) for (tokens, *_), *place in places]
    words = [f"{train.told}; {places[0][2]:,} blocks of {context} {unit} to train on"]
    if validation:
        words.append(f"{validation.told}; {places[1][2]:,} blocks to validate on")
    else:
        words[0] += f", the last {places[1][2]:,} to validate on"
    return Dataset(settings["name"], parts[0], parts[1], (context,), vocabulary, kind="tokens", told=tuple(words))
