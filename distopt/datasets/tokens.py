"""Texts that were made tokens elsewhere: the binary files of nanoGPT and of llm.c, mapped into memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distopt.datasets.dataset import Dataset
from distopt.datasets.mapped import Mapped, chunks
from distopt.datasets.streams import Stream, cut
from distopt.errors import DataError
from distopt.files.untrusted import BROKEN, reason, regular

HEADER = 256  # int32 numbers before the tokens of llm.c: the format, its version, the number of tokens, zeros
FORMATS: dict[int, tuple[int, np.dtype]] = {  # of llm.c: the version, and the type of tokens
    20240520: (1, np.dtype(np.uint16)),
    20240801: (7, np.dtype(np.uint32)),
}
MOST = 2**31 - 1  # tokens become int32


def load(settings: Mapping[str, Any]) -> Dataset:
    """Return blocks of tokens, see `cut`; files are mapped into memory, and read where a block is needed.

    Source: A. Karpathy, nanoGPT (`data/openwebtext/prepare.py`: tokens and nothing else) and llm.c
    (`dev/data/data_common.py`: a header of 1,024 bytes, then tokens).

    Raises:
        DataError: a file is missing, is not of the size that its header or type tells, holds tokens beyond the
            vocabulary, or is too short for a block in each part.
    """
    keys = [key for key in ("file", "validation_file") if settings.get(key)]
    found = {key: _read(settings, key) for key in keys}
    largest = {key: max((int(chunk.max()) for _, chunk in chunks(tokens)), default=0) for key, tokens in found.items()}
    vocabulary = settings.get("vocabulary") or min(max(largest.values()) + 1, MOST)
    for key, most in largest.items():
        if most >= vocabulary:
            raise DataError(
                f"dataset.{key}={settings[key]}: holds the token {most}, beyond a vocabulary of {vocabulary:,}; set "
                "dataset.vocabulary, or dataset.dtype to the type of its tokens"
            )
    streams = [
        Stream(tokens, settings[key], f"{settings[key]}: {len(tokens):,} tokens of {tokens.dtype}, 0 to {largest[key]}")
        for key, tokens in found.items()
    ]
    return cut(settings, *streams, vocabulary=vocabulary, unit="tokens")


def _read(settings: Mapping[str, Any], key: str) -> Mapped:
    file = settings[key]
    try:
        path = regular(file)
        kind, offset, count = _layout(path, settings["dtype"])
        return Mapped(path, kind.newbyteorder("<"), offset, (count,))
    except FileNotFoundError as error:
        raise DataError(f"dataset.{key}={file}: no such file") from error
    except BROKEN as error:
        raise DataError(f"dataset.{key}={file}: cannot be read as tokens ({reason(error)})") from error


def _layout(path: Path, dtype: str) -> tuple[np.dtype, int, int]:
    """Return the type of the tokens in a file, where they begin and how many there are.

    Raises:
        ValueError: the size of the file contradicts that.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4 * HEADER)
    header = np.frombuffer(head[: len(head) // 4 * 4], "<i4").tolist()
    if not header or header[0] not in FORMATS:
        kind = np.dtype(dtype)
        if size % kind.itemsize:
            raise ValueError(f"its {size:,} bytes are no whole number of tokens of dataset.dtype={dtype}")
        return kind, 0, size // kind.itemsize
    if len(header) < HEADER:
        raise ValueError("it ends within its header")
    version, kind = FORMATS[header[0]]
    if header[1] != version:
        raise ValueError(f"it has version {header[1]} of the format {header[0]} of llm.c, known is {version}")
    count = header[2]
    told = 4 * HEADER + count * kind.itemsize
    if count < 0 or size != told:
        raise ValueError(f"its header announces {count:,} tokens of {kind} in {told:,} bytes, and it has {size:,}")
    return kind, 4 * HEADER, count
