"""Texts for language models: the bytes of a file are the tokens, as they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distopt.datasets.dataset import Dataset
from distopt.errors import DataError
from distopt.files.untrusted import BROKEN, reason, regular

BYTES = 256


def load(settings: Mapping[str, Any]) -> Dataset:
    """Cut a text into blocks of `context` + 1 tokens, of which each shares one with the next.

    Block i is tokens[iT : iT + T + 1], so that every token is predicted once. The last `validation_fraction` of the
    blocks is held out: blocks from between the others would flatter every model.

    Raises:
        DataError: the file is missing, or too short for a block in each part.
    """
    text = _pydoc() if settings["name"] == "pydoc" else _read(settings["file"])
    what = settings.get("file") or settings["name"]
    context, fraction = settings["context"], settings["validation_fraction"]
    count = (len(text) - 1) // context
    held_out = int(count * fraction)
    if held_out < 1 or count - held_out < 1:
        raise DataError(
            f"dataset.context={context}: {what} has {len(text):,} bytes, too few for a block of {context} tokens to "
            f"train on and one to validate on (dataset.validation_fraction={fraction:g})"
        )
    blocks = np.lib.stride_tricks.sliding_window_view(text, context + 1)[::context][:count]
    train, validation = np.split(np.ascontiguousarray(blocks), [count - held_out])
    told = (
        f"{what}: {len(text):,} bytes, {len(np.unique(text))} different ones; {len(train):,} blocks of {context} bytes "
        f"to train on, the last {held_out:,} to validate on",
    )
    return Dataset(settings["name"], (train,), (validation,), (context,), BYTES, kind="tokens", told=told)


def _read(file: str) -> np.ndarray:
    try:
        return np.fromfile(regular(file), np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"dataset.file={file}: no such file") from error
    except BROKEN as error:
        raise DataError(f"dataset.file={file}: cannot be read ({reason(error)})") from error


def _pydoc() -> np.ndarray:
    """Return the topics of Python's help, in the order of their names; they differ between versions of Python."""
    try:
        from pydoc_data.topics import topics
    except ImportError as error:
        raise DataError("dataset=pydoc: this Python comes without the texts of help(); choose dataset=text") from error
    return np.frombuffer("\n\n".join(text for _, text in sorted(topics.items())).encode(), np.uint8)
