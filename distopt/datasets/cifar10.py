"""CIFAR-10, binary version: six files of records, or the archive with them."""

import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from distopt.datasets import sources
from distopt.datasets.dataset import Dataset, classified, pixels
from distopt.errors import DataError
from distopt.files.untrusted import BROKEN, reason, unpacked

FOLDER = "cifar-10-batches-bin"
ARCHIVE = "cifar-10-binary.tar.gz"
FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
CLASSES = 10
RECORDS = 10_000  # in each file
RECORD_BYTES = 1 + 3 * 32 * 32


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load pictures as (32, 32, 3) float32 in [0, 1]; the test batch is the validation part.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.

    Raises:
        DataError: the files are missing or damaged.
    """
    batches = [_parse(file, raw) for file, raw in sources.obtain(settings, pick)().items()]
    train_x = np.concatenate([x for x, _ in batches[:-1]])
    train_y = np.concatenate([y for _, y in batches[:-1]])
    x, y = batches[-1]
    return classified(settings["name"], (pixels(train_x), train_y), (pixels(x), y), CLASSES)


def pick(folder: Path) -> Callable[[], dict[str, bytes]] | None:
    """Return a reader of the six files if a folder holds them, their usual folder or the archive; else None."""
    for place in (folder / FOLDER, folder):
        if all((place / name).is_file() for name in FILES):
            return lambda: _read_files(place)
    archive = folder / ARCHIVE
    return (lambda: _read_archive(archive)) if archive.is_file() else None


def _read_files(folder: Path) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for path in (folder / name for name in FILES):
        try:
            with path.open("rb") as file:
                contents[str(path)] = file.read(RECORDS * RECORD_BYTES + 1)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({reason(error)}); fetch it anew") from error
    return contents


def _read_archive(path: Path) -> dict[str, bytes]:
    """Read the six files from the archive without unpacking to disk, so paths in the archive do no harm."""
    contents: dict[str, bytes] = {}
    try:
        limit = 2 * len(FILES) * RECORDS * RECORD_BYTES  # other members are small
        with unpacked(path, limit=limit) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in FILES and member.isfile() and (file := archive.extractfile(member)):
                    contents[name] = file.read(RECORDS * RECORD_BYTES + 1)
    except BROKEN as error:
        raise DataError(
            f"{path}: cannot be read ({reason(error)}); the file is damaged or incomplete, fetch it anew"
        ) from error
    if missing := set(FILES) - set(contents):
        raise DataError(f"{path}: lacks {', '.join(sorted(missing))}")
    return {f"{path}:{name}": contents[name] for name in FILES}


def _parse(file: str, raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Parse records of one label byte and 3 x 1024 bytes: red, green and blue plane, each row by row."""
    if len(raw) != RECORDS * RECORD_BYTES:
        raise DataError(f"{file}: has not the {RECORDS * RECORD_BYTES} bytes of {RECORDS} pictures; fetch it anew")
    records = np.frombuffer(raw, dtype=np.uint8).reshape(RECORDS, RECORD_BYTES)
    labels = records[:, 0].astype(np.int32)
    if labels.max() >= CLASSES:
        raise DataError(f"{file}: label {labels.max()}, expected 0 to {CLASSES - 1}")
    return records[:, 1:].reshape(RECORDS, 3, 32, 32).transpose(0, 2, 3, 1), labels
