"""Blocks of a long array of tokens: samples that are gathered when they are needed."""

from typing import Any

import numpy as np

from distopt.datasets.mapped import Lazy

SEPARATOR = 0  # the token between two documents


class Blocks(Lazy):
    """The blocks tokens[iT : iT + T + 1] of an array of tokens, read like an array of shape (N, T + 1).

    An index is a slice of rows or an array of row numbers, of any shape; what comes is a NumPy array of shape
    (*rows.shape, T + 1). Nothing else is read, and offsets have 64 bits.
    """

    def __init__(self, tokens: Any, context: int, first: int = 0, count: int | None = None) -> None:
        """Take `count` blocks from number `first` on; None: as many as there are.

        Raises:
            ValueError: there are not as many.
        """
        there = max(0, (len(tokens) - 1) // context) - first
        count = there if count is None else count
        if not 0 <= count <= there:
            raise ValueError(f"{count} blocks of {context} tokens from number {first} on, there are {there}")
        self._tokens, self._context, self._first = tokens, context, first
        self.shape, self.dtype = self._form(count)

    def _form(self, count: int) -> tuple[tuple[int, ...], np.dtype]:
        return (count, self._context + 1), self._tokens.dtype

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return blocks, as NumPy would return rows.

        Raises:
            IndexError: there is no such row.
        """
        if not isinstance(rows, slice):
            starts = (self._checked(rows) + self._first)[..., None] * self._context
            return self._made(self._tokens[starts + np.arange(self._context + 1)])
        first, stop, step = rows.indices(len(self))
        if step != 1 or stop <= first:
            return self[np.arange(first, stop, step)]
        first, stop = first + self._first, stop + self._first
        stretch = self._tokens[first * self._context : stop * self._context + 1]
        windows = np.lib.stride_tricks.sliding_window_view(stretch, self._context + 1)[:: self._context]
        return self._made(windows.copy())

    def _made(self, blocks: np.ndarray) -> np.ndarray:
        return blocks

    def _checked(self, rows: Any) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.dtype.kind not in "iu":
            raise IndexError(f"rows are whole numbers or a slice, not {rows.dtype}")
        rows = rows.astype(np.int64)
        if rows.size and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"row {rows.min()} to {rows.max()} of {len(self)} blocks")
        return np.where(rows < 0, rows + len(self), rows)


class Weights(Blocks):
    """What each prediction in blocks of documents counts: 0 after a separator, as nothing tells what follows, else 1.

    Read like an array of bytes, of shape (N, T).
    """

    def _form(self, count: int) -> tuple[tuple[int, ...], np.dtype]:
        return (count, self._context), np.dtype(np.uint8)

    def _made(self, blocks: np.ndarray) -> np.ndarray:
        return (blocks[..., :-1] != SEPARATOR).astype(np.uint8)
