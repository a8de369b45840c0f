"""Texts for language models: the bytes of a file are the tokens, as they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distopt.datasets.dataset import Dataset
from distopt.datasets.mapped import Mapped
from distopt.datasets.streams import cut, text
from distopt.errors import DataError
from distopt.files import digest
from distopt.files.untrusted import BROKEN, reason, regular


def load(settings: Mapping[str, Any]) -> Dataset:
    """Return a text in blocks of bytes, see `cut`.

    Raises:
        DataError: the file is missing, or too short for a block in each part.
    """
    if settings["name"] == "pydoc":
        content = _pydoc()
        return cut(settings, text(content, "pydoc"))._replace(content=digest.of_arrays([content]))
    return cut(settings, text(_read(settings["file"]), settings["file"]))


def _read(file: str) -> Mapped:
    try:
        path = regular(file)
        return Mapped(path, np.uint8, 0, (path.stat().st_size,))
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
