"""Hashes of what is in files and arrays, by which data are told apart."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from distopt.files.untrusted import regular

CHUNK = 1 << 20  # bytes of an array that are hashed at once


def of_file(name: str | Path) -> str:
    """Return a hash of the content of a file, or of the files that make up a folder of data.

    Of a folder, the files directly in it count, but for hidden ones and those that libraries cache there.

    Raises:
        OSError, RuntimeError, ValueError: it cannot be read.
    """
    path = Path(name).expanduser()
    if not path.is_dir():
        return _of_file(regular(path))
    kept = [each for each in sorted(path.iterdir()) if each.is_file() and not each.name.startswith((".", "cache-"))]
    digest = hashlib.blake2b()
    for each in kept:
        digest.update(f"{each.name}\0{_of_file(each)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def of_arrays(arrays: Iterable[Any]) -> str:
    """Return a hash of arrays, or of what is read like them: types, shapes and values, whatever their byte order."""
    digest = hashlib.blake2b()
    for array in arrays:
        kind = np.dtype(array.dtype).newbyteorder("<")
        digest.update(f"{kind.str}{tuple(array.shape)}".encode())
        step = max(1, CHUNK * len(array) // max(1, array.nbytes))
        for first in range(0, len(array), step):
            digest.update(np.asarray(array[first : first + step], kind).tobytes())
    return digest.hexdigest()


def _of_file(path: Path) -> str:
    told = path.stat()
    return _hashed(path.absolute(), told.st_ino, told.st_size, told.st_mtime_ns)


@lru_cache(maxsize=256)
def _hashed(path: Path, *changes: int) -> str:
    """Hash a file; once in a process unless it changes."""
    del changes
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
