"""The six novels of Jane Austen, as Debian's package r-cran-janeaustenr installs them: a database of R."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distopt.datasets import sources
from distopt.datasets.dataset import Dataset
from distopt.datasets.streams import cut, text
from distopt.errors import DataError
from distopt.files import digest
from distopt.files.untrusted import BROKEN, reason, regular

INDEX, RECORDS = "Rdata.rdx", "Rdata.rdb"
NOVELS = 6
PAIR = struct.pack(">2i", 13, 2)  # before two integers: where a record is, and its length
START = 14  # bytes before the length of the name of the encoding
STRINGS, STRING = 16, 9  # types of R
MOST = {INDEX: 1 << 16, RECORDS: 16 << 20}  # bytes of a file, and of what is packed in it


def load(settings: Mapping[str, Any]) -> Dataset:
    """Return the novels in blocks of bytes, see `cut`: 73,422 lines of UTF-8 in 4,025,028 bytes.

    Source: J. Silge, janeaustenr (the texts are of Project Gutenberg); the format is R's `lazyLoad`, records of XDR.

    Raises:
        DataError: the files are missing or damaged.
    """
    path = sources.obtain(settings, pick)
    try:
        content = np.frombuffer(b"\n".join(line for novel in _novels(path) for line in novel), np.uint8)
    except BROKEN as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); install the package anew") from error
    return cut(settings, text(content, "austen"))._replace(content=digest.of_arrays([content]))


def pick(folder: Path) -> Path | None:
    """Return a folder if it has the files; else None."""
    return folder if all((folder / name).is_file() for name in (INDEX, RECORDS)) else None


def _novels(folder: Path) -> Iterator[list[bytes]]:
    """Yield the lines of each novel, in the order of the index."""
    index, records = (_read(folder / name) for name in (INDEX, RECORDS))
    index = _unpacked(index, MOST[INDEX], zlib.MAX_WBITS | 16)
    places = [place for place in range(len(index)) if index.startswith(PAIR, place)]
    if len(places) != NOVELS:
        raise ValueError(f"{INDEX} lists {len(places)} records, expected {NOVELS} novels")
    for place in places:
        first, length = struct.unpack_from(">2i", index, place + len(PAIR))
        if first < 0 or length < 4 or first + length > len(records):
            raise ValueError(f"{INDEX} lists a record beyond {RECORDS}")
        (size,) = struct.unpack_from(">i", records, first)
        content = _unpacked(records[first + 4 : first + length], MOST[RECORDS])
        if len(content) != size:
            raise ValueError(f"a record announces {size} bytes and has {len(content)}")
        yield _strings(content)


def _read(path: Path) -> bytes:
    if regular(path).stat().st_size > MOST[path.name]:
        raise ValueError(f"{path.name} has {path.stat().st_size:,} bytes, expected at most {MOST[path.name]:,}")
    return path.read_bytes()


def _unpacked(packed: bytes, most: int, form: int = zlib.MAX_WBITS) -> bytes:
    unpacker = zlib.decompressobj(form)
    content = unpacker.decompress(packed, most)
    if not unpacker.eof:
        raise ValueError(f"a part is cut short, or has more than {most:,} bytes")
    return content


def _strings(content: bytes) -> list[bytes]:
    """Return the strings of a vector."""
    (name,) = struct.unpack_from(">i", content, START)
    place = START + 4 + name
    kind, count = struct.unpack_from(">2i", content, place)
    if name < 0 or kind != STRINGS or count < 0:
        raise ValueError("a record holds no text")
    place, found = place + 8, []
    for _ in range(count):  # a count too large ends with the content
        flags, length = struct.unpack_from(">2i", content, place)
        place += 8
        if flags & 255 != STRING or not 0 <= length <= len(content) - place:
            raise ValueError("a record holds no text")
        found.append(content[place : place + length])
        place += length
    return found
