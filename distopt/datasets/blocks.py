"""Blocks of a long array of tokens: samples that are gathered when they are needed."""

from pathlib import Path
from typing import Any

import numpy as np

SEPARATOR = 0  # the token between two documents


class Blocks:
    """The blocks tokens[iT : iT + T + 1] of an array of tokens, read like an array of shape (N, T + 1).

    An index is a slice of rows or an array of row numbers, of any shape; what comes is a NumPy array of shape
    (*rows.shape, T + 1). Nothing else is copied, and offsets have 64 bits. Pickled, tokens of a mapped file go as its
    path, and another process maps the file itself.
    """

    ndim = 2

    def __init__(self, tokens: np.ndarray, context: int, first: int = 0, count: int | None = None) -> None:
        """Take `count` blocks from number `first` on; None: as many as there are.

        Raises:
            ValueError: there are not as many.
        """
        there = max(0, (len(tokens) - 1) // context) - first
        self._tokens, self._context, self._first = tokens, context, first
        self._count = there if count is None else count
        if not 0 <= self._count <= there:
            raise ValueError(f"{self._count} blocks of {context} tokens from number {first} on, there are {there}")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of blocks and tokens in each."""
        return self._count, self._context + 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a token."""
        return self._tokens.dtype

    @property
    def size(self) -> int:
        """Tokens in all blocks."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks, once they are gathered."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of blocks."""
        return self._count

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return blocks, as NumPy would return rows.

        Raises:
            IndexError: there is no such row.
        """
        if not isinstance(rows, slice):
            starts = (self._checked(rows) + self._first)[..., None] * self._context
            return self._made(np.asarray(self._tokens)[starts + np.arange(self._context + 1)])
        first, stop, step = rows.indices(self._count)
        if step != 1 or stop <= first:
            return self[np.arange(first, stop, step)]
        first, stop = first + self._first, stop + self._first
        stretch = np.asarray(self._tokens)[first * self._context : stop * self._context + 1]
        windows = np.lib.stride_tricks.sliding_window_view(stretch, self._context + 1)[:: self._context]
        return self._made(windows.copy())

    def _made(self, blocks: np.ndarray) -> np.ndarray:
        return blocks

    def _checked(self, rows: Any) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu":
            raise IndexError(f"rows are whole numbers or a slice, not {rows.dtype}")
        rows = rows.astype(np.int64)
        if rows.size and not -self._count <= rows.min() <= rows.max() < self._count:
            raise IndexError(f"row {rows.min()} to {rows.max()} of {self._count} blocks")
        return np.where(rows < 0, rows + self._count, rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a pickle makes the blocks again."""
        tokens, more = self._tokens, (self._context, self._first, self._count)
        if not isinstance(tokens, np.memmap) or tokens.filename is None:
            return type(self), (np.asarray(tokens), *more)
        return _mapped, (type(self), (str(tokens.filename), tokens.dtype, tokens.offset, len(tokens)), *more)


class Weights(Blocks):
    """What each prediction in blocks of documents counts: 0 after a separator, as nothing tells what follows, else 1.

    Read like an array of bytes, of shape (N, T).
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Number of blocks and predictions in each."""
        return self._count, self._context

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a weight."""
        return np.dtype(np.uint8)

    def _made(self, blocks: np.ndarray) -> np.ndarray:
        return (blocks[..., :-1] != SEPARATOR).astype(np.uint8)


def mapped(path: str | Path, dtype: Any, offset: int = 0, count: int | None = None) -> np.ndarray:
    """Return the tokens in a file, mapped into memory and read only: `count` of them, None: to its end.

    Raises:
        OSError, ValueError: the file is not as long, or not a whole number of tokens.
    """
    if Path(path).stat().st_size == offset:  # nothing can be mapped there
        return np.empty(0, dtype)
    return np.memmap(path, dtype, "r", offset, None if count is None else (count,))


def _mapped(kind: type[Blocks], file: tuple[str, Any, int, int], *more: Any) -> Blocks:
    path, dtype, offset, count = file
    return kind(mapped(path, dtype, offset, count), *more)
