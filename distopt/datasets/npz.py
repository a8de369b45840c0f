"""The user's own arrays in a NumPy .npz file."""

import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy

from distopt.datasets.dataset import Dataset
from distopt.datasets.mapped import Mapped, Rows
from distopt.datasets.own import Part, assemble, finite
from distopt.errors import DataError, listed
from distopt.files.npz import array_place, members, read_array
from distopt.files.untrusted import BROKEN, reason, regular

LARGE = 64 << 20  # bytes of features from which on they stay in the file


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load the arrays that the settings name: features (N, ...) unchanged, labels (N,).

    Raises:
        DataError: the file is missing or damaged or lacks an array, or an array has a wrong shape, type or value.
    """
    file = settings["file"]
    try:
        path = regular(file)
        with path.open("rb") as stream:
            single = stream.read(len(npy.MAGIC_PREFIX)) == npy.MAGIC_PREFIX
        if single:
            raise DataError(f"dataset.file={file}: holds one array without a name; save with numpy.savez")
        with zipfile.ZipFile(path) as archive:
            train = _part(archive, settings, "train")
            validation = _part(archive, settings, "validation") if settings.get("validation_x") else None
            key = _array(archive, settings, "key") if settings.get("key") else None
    except FileNotFoundError as error:
        raise DataError(f"dataset.file={file}: no such file") from error
    except BROKEN as error:
        raise DataError(f"dataset.file={file}: cannot be read as .npz ({reason(error)})") from error
    dataset = assemble(settings, train, validation, key=key)
    size, shape = len(train[1]), "x".join(map(str, dataset.shape))
    return dataset._replace(told=(f"{file}: {size:,} samples of {shape} numbers", *dataset.told))


def _part(archive: zipfile.ZipFile, settings: Mapping[str, Any], part: str) -> Part:
    x, y = (_array(archive, settings, f"{part}_{axis}") for axis in "xy")
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise DataError(
            f"{settings['file']}: {part} features of shape {x.shape} and type {x.dtype}, "
            "expected numbers with one row per sample"
        )
    several = settings.get("kind") == "labels" and y.ndim == 2
    if (y.ndim != 1 and not several) or y.dtype.kind not in "fiubU":
        way = "; set dataset.kind=labels for several of 0 and 1" if y.ndim == 2 else ""
        raise DataError(
            f"{settings['file']}: {part} labels of shape {y.shape} and type {y.dtype}, "
            f"expected one integer or string per sample{way}"
        )
    x = finite(x, settings["file"], f"{part} features: a value")
    return x.astype(np.float32, copy=False) if isinstance(x, np.ndarray) else Rows(x, dtype=np.float32), y


def _array(archive: zipfile.ZipFile, settings: Mapping[str, Any], key: str) -> Any:
    """Return an array of the file; features that are large and not compressed stay in it."""
    name = settings.get(key, key)
    found = members(archive)
    if name not in found:
        raise DataError(f"dataset.{key}={name}: no such array in {settings['file']}, it has {listed(found)}")
    member = found[name]
    if key.endswith("x") and member.file_size >= LARGE and (place := array_place(archive, member)):
        return Mapped(settings["file"], *place)
    return read_array(archive, member)
