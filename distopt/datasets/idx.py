"""MNIST and Fashion-MNIST: IDX files, plain or compressed with gzip."""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from distopt.datasets import sources
from distopt.datasets.dataset import Dataset, classified, pixels
from distopt.errors import DataError
from distopt.files.untrusted import BROKEN, need, reason, unpacked

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CLASSES = 10
SHAPE = (28, 28)
CHUNK = 1 << 20


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load images as (28, 28) float32 in [0, 1]; the files whose names begin with t10k are the validation part.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998 (MNIST);
    Xiao, Rasul and Vollgraf, arXiv 1708.07747 (Fashion-MNIST).

    Raises:
        DataError: a file is missing or damaged, or the files do not fit each other.
    """
    train_images, train_labels, images, labels = sources.obtain(settings, pick)
    return classified(settings["name"], _read_pair(train_images, train_labels), _read_pair(images, labels), CLASSES)


def pick(folder: Path) -> list[Path] | None:
    """Return the four files in a folder, each plain or compressed; None unless all exist."""
    found = [[path for suffix in ("", ".gz") if (path := folder / (name + suffix)).is_file()] for name in FILES]
    return [paths[0] for paths in found] if all(found) else None


def _read_pair(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y = read(images, dimensions=3), read(labels, dimensions=1)
    if len(x) != len(y):
        raise DataError(f"{images}: {len(x)} images, but {labels.name} has {len(y)} labels")
    if x.shape[1:] != SHAPE:
        raise DataError(f"{images}: images of {x.shape[1]} x {x.shape[2]} pixels, expected 28 x 28")
    if not len(y):
        raise DataError(f"{images}: holds no images")
    if y.max() >= CLASSES:
        raise DataError(f"{labels}: label {y.max()}, expected 0 to {CLASSES - 1}")
    return pixels(x), y.astype(np.int32)


def read(path: Path, dimensions: int) -> np.ndarray:
    """Return the values of an IDX file of unsigned bytes with this number of dimensions.

    The header is two zero bytes, the type (8: unsigned byte), the number of dimensions, then each dimension as a
    big-endian 32-bit integer; the values follow in row-major order.

    Raises:
        DataError: the header is a different one, or the file holds fewer or more values than it announces.
    """
    try:
        with unpacked(path) as file:
            return _parse(file, path, dimensions)
    except BROKEN as error:
        raise DataError(
            f"{path}: cannot be read ({reason(error)}); the file is damaged or incomplete, fetch it anew"
        ) from error


def _parse(file: IO[bytes], path: Path, dimensions: int) -> np.ndarray:
    magic = file.read(4)
    expected = bytes([0, 0, 8, dimensions])
    if magic != expected:
        raise DataError(
            f"{path}: begins with {magic.hex() or 'nothing'}, an IDX file of this kind with {expected.hex()}"
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f"{path}: ends within its header")
    shape = struct.unpack(f">{dimensions}I", header)
    announced = math.prod(shape)
    # Read in pieces: a damaged header may announce more values than the file holds.
    values = bytearray()
    while len(values) <= announced and (chunk := file.read(CHUNK)):
        values += chunk
    if len(values) != announced:
        held = f"more than {announced}" if len(values) > announced else f"only {len(values)}"
        raise DataError(f"{path}: header announces {announced} values, the file holds {held}")
    need(4 * announced, "a float32 copy")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)
