"""Arrays that stay in their files: what is asked for is read, by rows, and nothing else.

They have the shape and type of an array, and are indexed by a slice or by an array of rows, which gives a NumPy array.
Between processes they travel as the name of their file.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from distopt.errors import DataError

STEP = 1 << 24  # bytes that are looked at together


class Rowed(Protocol):
    """What a leaf of a data set is: a NumPy array, or something that is indexed like one along its first axis."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its first entry is the number of rows."""

    @property
    def dtype(self) -> np.dtype:
        """Of the rows."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return some rows, by a slice or by an array of indices of any shape."""


class Lazy:
    """Common parts of arrays that are not in memory."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes, if it were in memory."""
        return self.size * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


class Mapped(Lazy):
    """An array in a file, from `offset` on."""

    def __init__(self, path: str | Path, dtype: Any, offset: int, shape: tuple[int, ...]) -> None:
        """Note where it is.

        Raises:
            OSError: there is no such file.
        """
        self.path, self.dtype, self.offset, self.shape = Path(path).absolute(), np.dtype(dtype), offset, shape
        self._found = _state(self.path)

    @cached_property
    def _map(self) -> np.ndarray:
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)

    def __getitem__(self, rows: Any) -> np.ndarray:
        try:
            same = _state(self.path) == self._found
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read here ({error.strerror}); every machine needs it") from error
        if not same:
            raise DataError(f"{self.path}: has changed since the run began; start the run anew")
        return np.array(self._map[rows])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_map"}


class Rows(Lazy):
    """Some rows of another array, as another type."""

    def __init__(self, array: Rowed, rows: np.ndarray | None = None, dtype: Any = None) -> None:
        """Choose `rows`, by default all, as `dtype`, by default as it is."""
        self.dtype, count = np.dtype(dtype or array.dtype), len(array) if rows is None else len(rows)
        self.shape = (count, *array.shape[1:])
        self._array, self._rows = array, rows

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._array[rows if self._rows is None else self._rows[rows]].astype(self.dtype, copy=False)


class Scaled(Lazy):
    """The rows (x - mean) / spread of an array of shape (N, d), in double precision and then as float32."""

    def __init__(self, array: Rowed, mean: np.ndarray, spread: np.ndarray) -> None:
        """Scale by `mean` and `spread`, both of shape (d,)."""
        self.dtype, self.shape = np.dtype(np.float32), array.shape
        self._array, self._mean, self._spread = array, mean, spread

    def __getitem__(self, rows: Any) -> np.ndarray:
        return ((self._array[rows] - self._mean) / self._spread).astype(self.dtype)


def extent(array: Rowed) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the largest value of each column of an array of shape (N, d)."""
    ends = [(rows.min(axis=0), rows.max(axis=0)) for _, rows in chunks(array)]
    return np.min([least for least, _ in ends], axis=0), np.max([most for _, most in ends], axis=0)


def moments(array: Rowed) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column of an array of shape (N, d), of which N are divided by.

    Rows of what is not in memory are added one by one, as NumPy does where d > 1: all bits are the same.
    """
    if isinstance(array, np.ndarray):
        return array.mean(axis=0), array.std(axis=0)
    mean = _sum(rows for _, rows in chunks(array)) / len(array)
    return mean, np.sqrt(_sum((rows - mean) ** 2 for _, rows in chunks(array)) / len(array))


def _sum(stretches: Iterator[np.ndarray]) -> np.ndarray:
    total = next(stretches).sum(axis=0)
    for rows in stretches:
        total = np.concatenate([total[None], rows]).sum(axis=0)
    return total


def scaled(array: Any, mean: np.ndarray, spread: np.ndarray) -> Any:
    """Return (x - mean) / spread as float32, of an array that is not in memory without reading it."""
    found = Scaled(array, mean, spread)
    return found[:] if isinstance(array, np.ndarray) else found


def select(array: Any, rows: np.ndarray) -> Any:
    """Return some rows of an array; of one that is not in memory, without reading them."""
    return array[rows] if isinstance(array, np.ndarray) else Rows(array, rows)


def chunks(array: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yield stretches of rows that fit into memory, each with the number of its first row."""
    step = max(1, STEP // max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))))
    for first in range(0, len(array), step):
        yield first, array[first : first + step]


def _state(path: Path) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns
