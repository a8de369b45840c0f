"""Arrays in .npz files from others: checked before memory is allocated, and never unpickled."""

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from distopt.files.untrusted import need, regular

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays of an archive by name."""
    return {member.filename.removesuffix(".npy"): member for member in archive.infolist()}


def read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Return one array; raises one of `distopt.files.untrusted.BROKEN`."""
    _check(archive, member)
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def read_arrays(name: str | Path) -> dict[str, np.ndarray]:
    """Return all arrays of a file by name; raises one of `distopt.files.untrusted.BROKEN`."""
    with zipfile.ZipFile(regular(name)) as archive:
        return {name: read_array(archive, member) for name, member in members(archive).items()}


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check an array's header: the bytes it announces must be in the file and fit into memory."""
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"array {name} has a format of version {version}, known are 1.0 and 2.0")
        shape, _, dtype = HEADERS[version](file)
        if dtype.hasobject:  # reading a pickle runs whatever code it holds
            raise ValueError(f"array {name} holds Python objects, which are never read; save numbers or strings")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"array {name} has the impossible shape {shape}")
        size, held = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if size != held:
            raise ValueError(f"array {name} announces {size} bytes and has {held}")
        need(size + 10 * math.prod(shape), f"array {name}")  # bytes and two float32 copies of each number
