"""The user's own arrays in a NumPy .npz file."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distopt.datasets.dataset import Dataset
from distopt.datasets.own import Part, assemble, finite
from distopt.errors import DataError


def load(settings: Mapping[str, Any]) -> Dataset:
    """Arrays by the names given in the settings: features (N, ...) taken as they are, labels (N,).

    Raises:
        DataError: the file is missing or damaged, lacks an array, or an array is not what it should be.
    """
    file = settings["file"]
    try:
        with Path(file).expanduser().open("rb") as stream:
            # Pickled arrays are refused: reading them runs whatever code the file holds.
            archive = np.load(stream, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"dataset.file={file}: holds one array without a name; save with numpy.savez")
            train = _part(archive, settings, "train")
            validation = _part(archive, settings, "validation") if settings.get("validation_x") else None
    except FileNotFoundError as error:
        raise DataError(f"dataset.file={file}: no such file") from error
    except (OSError, EOFError, ValueError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"dataset.file={file}: cannot be read as .npz ({error})") from error
    return assemble(settings, train, validation)


def _part(archive: Any, settings: Mapping[str, Any], part: str) -> Part:
    x, y = (_array(archive, settings, f"{part}_{axis}") for axis in "xy")
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise DataError(
            f"{settings['file']}: {part} features of shape {x.shape} and type {x.dtype}, "
            "expected numbers with one row per sample"
        )
    if y.ndim != 1 or y.dtype.kind not in "fiubU":
        raise DataError(
            f"{settings['file']}: {part} labels of shape {y.shape} and type {y.dtype}, "
            "expected one integer or string per sample"
        )
    return finite(x, settings["file"], f"{part} features: a value"), y


def _array(archive: Any, settings: Mapping[str, Any], key: str) -> np.ndarray:
    name = settings.get(key, key)
    if name not in archive.files:
        raise DataError(f"dataset.{key}={name}: no such array in {settings['file']}, it has {', '.join(archive.files)}")
    return archive[name]
