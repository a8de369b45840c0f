"""Arrays in .npz files from others: checked before memory is allocated, and never unpickled."""

import math
import struct
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from distopt.files.untrusted import need, regular

HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
LOCAL = struct.Struct("<26x2H")  # what stands before a member: at its end the lengths of its name and of extra fields


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


def array_place(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[np.dtype, int, tuple[int, ...]] | None:
    """Return type, offset in the file and shape of an array; None if it does not lie there as in memory.

    Raises one of `distopt.files.untrusted.BROKEN`.
    """
    if member.compress_type != zipfile.ZIP_STORED or archive.fp is None:
        return None
    shape, fortran, dtype, start = _header(archive, member)
    if fortran:
        return None
    archive.fp.seek(member.header_offset)
    local = archive.fp.read(LOCAL.size)
    if len(local) < LOCAL.size:
        raise zipfile.BadZipFile(f"{member.filename} ends early")
    name, extra = LOCAL.unpack(local)[-2:]
    return dtype, member.header_offset + LOCAL.size + name + extra + start, shape


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Check that an array fits into memory."""
    shape, _, dtype, _ = _header(archive, member)
    size = math.prod(shape)
    need(size * dtype.itemsize + 10 * size, f"array {member.filename.removesuffix('.npy')}")  # two float32 copies


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return shape, order, type and length of an array's header; the bytes it announces must be in the file."""
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"array {name} has a format of version {version}, known are 1.0 and 2.0")
        shape, fortran, dtype = HEADERS[version](file)
        if dtype.hasobject:  # reading a pickle runs whatever code it holds
            raise ValueError(f"array {name} holds Python objects, which are never read; save numbers or strings")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"array {name} has the impossible shape {shape}")
        size, held = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if size != held:
            raise ValueError(f"array {name} announces {size} bytes and has {held}")
        return shape, fortran, dtype, file.tell()
