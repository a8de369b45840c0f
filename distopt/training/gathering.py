"""Samples that are not kept on the device: a thread gathers each window's while the device computes the one before."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import jax
import numpy as np

from distopt.datasets.dataset import Samples, leaves

AHEAD = 64 << 20  # bytes gathered before they are asked for, at most, by all workers of a process together
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="gather")
_lock = Lock()
_ahead = 0  # bytes gathered so far before they are asked for


Rows = Callable[[], np.ndarray]
Gathered = tuple[np.ndarray, Samples]


class Gatherer:
    """The windows of one worker, gathered in the order in which they are foreseen."""

    def __init__(self, samples: Samples, rows: int) -> None:
        """Gather from `samples`, `rows` for each window."""
        self._samples = samples
        self._bytes = rows * sum(leaf.dtype.itemsize * int(np.prod(leaf.shape[1:])) for leaf in leaves(samples))
        self._foreseen: tuple[Any, Future[Gathered]] | None = None

    def take(self, window: Any, rows: Rows) -> Gathered:
        """Return rows and samples of a window; `window` is what it was foreseen as. Calls of `rows` never overlap."""
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None:
            _release(self._bytes)
            known, future = foreseen
            if known == window or not future.cancel():
                gathered = future.result()
                if known == window:
                    return gathered
        return self._gather(rows)

    def foresee(self, window: Any, rows: Rows) -> None:
        """Begin to gather a window, unless too many wait already."""
        if self._foreseen is None and _reserve(self._bytes):
            self._foreseen = window, _THREAD.submit(self._gather, rows)

    def _gather(self, rows: Rows) -> Gathered:
        found = rows()
        return found, jax.tree.map(lambda leaf: leaf[found], self._samples)

    def __del__(self) -> None:
        """Give back what was reserved."""
        if self._foreseen is not None:
            _release(self._bytes)


def _reserve(size: int) -> bool:
    """Return whether that many bytes may be gathered ahead; one window always may."""
    global _ahead
    with _lock:
        if _ahead and _ahead + size > AHEAD:
            return False
        _ahead += size
    return True


def _release(size: int) -> None:
    global _ahead
    with _lock:
        _ahead -= size
