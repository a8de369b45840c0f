"""Documents in a column of text: their bytes, one document after the other, in a file that is made once."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distopt.datasets import sources
from distopt.datasets.blocks import SEPARATOR
from distopt.datasets.columns import Parquet, Saved, kind, opened
from distopt.datasets.dataset import Dataset
from distopt.datasets.mapped import Mapped, chunks
from distopt.datasets.streams import Stream, cut, text
from distopt.errors import DataError, listed, unwritten
from distopt.files import digest
from distopt.files.untrusted import BROKEN, in_words, reason

CACHE = "documents"
FORM = "1"  # of the files that are made; another one makes them anew
BORDER = bytes([SEPARATOR])


def load(settings: Mapping[str, Any]) -> Dataset:
    """Return the documents of the column `text` in blocks of bytes, see `cut`, with a byte 0 between two documents.

    What follows that byte cannot be predicted, and has the weight 0. Missing and empty documents are left out.

    Raises:
        DataError: a file is missing or damaged, the column is no text, a document holds a byte 0, or there is no room
            for the bytes in the cache.
    """
    streams = [_stream(settings, key) for key in ("file", "validation_file") if settings.get(key)]
    return cut(settings, *streams, documents=True)


def _stream(settings: Mapping[str, Any], key: str) -> Stream:
    file, column = settings[key], settings["text"]
    try:
        columns, content = opened(settings, key), digest.of_file(file)
    except FileNotFoundError as error:
        raise DataError(f"dataset.{key}={file}: no such file") from error
    except BROKEN as error:
        raise DataError(f"dataset.{key}={file}: cannot be read as {settings['name']} ({reason(error)})") from error
    kinds = {field.name: kind(field) for field in columns.schema}
    if column not in kinds:
        raise DataError(f"dataset.text={column}: no such column in {file}, it has {listed(kinds)}")
    if kinds[column] != "text":
        raise DataError(f"dataset.text={column}: is {columns.schema.field(column).type} in {file}; choose a text")
    mark = hashlib.blake2b(f"{FORM}\0{content}\0{column}".encode(), digest_size=16).hexdigest()
    target = sources.cache(CACHE) / f"{mark}.bin"
    try:
        if not target.exists():
            _write(_documents(columns, settings, key), target)
        written = Mapped(target, np.uint8, 0, (target.stat().st_size,))
    except OSError as error:
        raise DataError(f"dataset.text={column}: {unwritten(error)} with XDG_CACHE_HOME") from error
    number = sum(int(np.count_nonzero(chunk == SEPARATOR)) for _, chunk in chunks(written)) + bool(len(written))
    return text(written, file, f"{number:,} documents in the column {column}, ")


def _documents(columns: Parquet | Saved, settings: Mapping[str, Any], key: str) -> Iterator[Any]:
    """Yield the bytes of each document that is not empty."""
    name, row = settings["text"], 0
    try:
        for batch in columns.batches(name):
            for scalar in batch:
                value = scalar.value if hasattr(scalar, "dictionary") else scalar  # where texts are encoded
                content = memoryview(value.as_buffer()) if value is not None and value.is_valid else b""
                if len(content) and BORDER in bytes(content):
                    raise ValueError(f"row {row} of column {name} holds a byte 0, which separates documents; remove it")
                if len(content):
                    yield content
                row += 1
    except BROKEN as error:
        raise DataError(
            f"dataset.{key}={settings[key]}: cannot be read as {settings['name']} ({reason(error)})"
        ) from error


def _write(documents: Iterator[Any], target: Path) -> None:
    """Write documents; the file appears under its name once it is whole, whoever else writes the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    room, needed = shutil.disk_usage(target.parent).free, 0
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        partial = Path(folder) / target.name
        with partial.open("wb") as file:
            for i, content in enumerate(documents):
                needed += len(content) + len(BORDER)
                if needed > room:
                    raise DataError(
                        f"dataset.text: its documents need more than the {in_words(room)} that are free in "
                        f"{target.parent}; make room, or choose another folder with XDG_CACHE_HOME"
                    )
                file.write(BORDER * (i > 0))
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, target)
        except FileExistsError:  # somebody was faster, and may be reading it
            pass
        except OSError:  # a file system without links
            os.replace(partial, target)
