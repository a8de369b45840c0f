"""What processes exchange: flat buffers with a static layout, in shared memory where both ends are on one node."""

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distopt.trees import is_key

OPEN_FILES = f"/proc/{os.getpid()}/fd/"  # where others find the open files of this process by number
ALIGN = 64  # bytes; aligned views become device arrays on CPU without a copy


class Wire:
    """The layout of one kind of message: where in a flat buffer each leaf of the pytree lies."""

    def __init__(self, like: Any) -> None:
        leaves, self._tree = jax.tree.flatten(like)
        self._keys = {i: _kind(leaf) for i, leaf in enumerate(leaves) if is_key(leaf)}
        plain = [jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else leaf for leaf in leaves]
        self._leaves = [(leaf.shape, np.dtype(leaf.dtype)) for leaf in plain]
        sizes = [int(np.prod(shape)) * dtype.itemsize for shape, dtype in self._leaves]
        padded = [-(-size // ALIGN) * ALIGN for size in sizes]
        self._spans = [(start, start + size) for start, size in zip(np.cumsum([0, *padded]), sizes, strict=False)]
        self.payload_bytes = sum(sizes)
        self.buffer_bytes = max(sum(padded), ALIGN)

    def write(self, tree: Any, buffer: np.ndarray) -> None:
        """Copy the leaves of a pytree (host or device arrays) into a buffer of uint8.

        Raises:
            ValueError: the pytree does not match the layout.
        """
        leaves, tree = jax.tree.flatten(tree)
        if tree != self._tree:
            raise ValueError(f"it is {tree} instead of {self._tree}")
        for i in self._keys:
            leaves[i] = jax.random.key_data(leaves[i])
        for view, leaf in zip(self._views(buffer), leaves, strict=True):
            if (view.shape, view.dtype) != (leaf.shape, leaf.dtype):
                raise ValueError(f"an array is {leaf.dtype}{leaf.shape} instead of {view.dtype}{view.shape}")
            np.copyto(view, np.asarray(leaf))

    def pack(self, tree: Any) -> np.ndarray:
        """Return a new buffer with the leaves of a pytree."""
        buffer = np.empty(self.buffer_bytes, np.uint8)
        self.write(tree, buffer)
        return buffer

    def read(self, buffer: np.ndarray) -> Any:
        """Return the pytree in a buffer as views, without a copy; keys for random numbers are copied."""
        leaves: list[Any] = self._views(buffer)
        for i, kind in self._keys.items():
            leaves[i] = jax.random.wrap_key_data(jnp.array(leaves[i]), impl=kind)
        return jax.tree.unflatten(self._tree, leaves)

    def _views(self, buffer: np.ndarray) -> list[np.ndarray]:
        return [
            buffer[start:end].view(dtype).reshape(shape)
            for (start, end), (shape, dtype) in zip(self._spans, self._leaves, strict=True)
        ]


def _kind(key: Any) -> Any:
    """Return the implementation of an array's random keys; only a (traced) array tells it, a shape does not."""
    found: list[Any] = []
    jax.eval_shape(lambda keys: found.append(jax.random.key_impl(keys)), key)
    return found[0]


class Slots:
    """Shared memory of one run on one node: for each worker a slot up, and two of each other kind.

    The two are used in turn. The parameters a worker trains from are a view of the last reply, which must not change
    until the worker has adopted the next one. And a commit may never be applied, so the local state that came with the
    one before it must stay. `busy` has a byte for each worker: 1 while its commit waits for an answer.
    """

    def __init__(self, path: str, workers: int, up: int, down: int, center: int = 0, kept: int = 0) -> None:
        self._up, self._pairs = up, (down, center, kept)
        self._stride = up + 2 * sum(self._pairs)
        with open(path, "r+b") as file:
            self._memory = np.frombuffer(mmap.mmap(file.fileno(), workers * (self._stride + 1)), np.uint8)
        self.busy = self._memory[workers * self._stride :]

    @staticmethod
    def create(workers: int, up: int, down: int, center: int = 0, kept: int = 0) -> str:
        """Reserve the memory and return its path; the creator calls `forget` once all processes have opened it.

        Where processes see each other's open files (Linux), the file has no name: it vanishes with the last process
        that has it open.

        Raises:
            OSError: neither shared memory nor the folder for temporary files has the room.
        """
        size = workers * (up + 2 * (down + center + kept) + 1)
        shared = Path("/dev/shm")
        roomy = shared.is_dir() and shutil.disk_usage(shared).free > 1.1 * size
        handle, path = tempfile.mkstemp(prefix="distopt-", dir=shared if roomy else None)
        try:
            reserve: Callable[[int, int, int], None] | None = getattr(os, "posix_fallocate", None)
            if reserve:
                reserve(handle, 0, size)  # else a write beyond the available room would kill the process
            else:
                os.truncate(handle, size)
        except OSError as error:
            os.unlink(path)
            os.close(handle)
            where = Path(path).parent
            raise OSError(f"no room for {size:,} bytes of exchanges in {where} ({error.strerror})") from None
        opened = f"{OPEN_FILES}{handle}"
        if os.path.exists(opened):
            os.unlink(path)
            return opened
        os.close(handle)
        return path

    @staticmethod
    def forget(path: str) -> None:
        """Close the memory to further processes; it lasts as long as a process has it open."""
        if path.startswith(OPEN_FILES):
            os.close(int(path.removeprefix(OPEN_FILES)))
        else:
            os.unlink(path)

    def up(self, worker: int) -> np.ndarray:
        """Return a worker's slot for commits."""
        start = worker * self._stride
        return self._memory[start : start + self._up]

    def down(self, worker: int, sequence: int) -> np.ndarray:
        """Return the slot for the reply to a worker's commit number `sequence`."""
        return self._one_of_two(worker, 0, sequence)

    def center(self, worker: int, sequence: int) -> np.ndarray:
        """Return the slot for the center that a worker fetches before its commit number `sequence`."""
        return self._one_of_two(worker, 1, sequence)

    def kept(self, worker: int, sequence: int) -> np.ndarray:
        """Return the slot for a worker's local state at its commit number `sequence`."""
        return self._one_of_two(worker, 2, sequence)

    def _one_of_two(self, worker: int, kind: int, sequence: int) -> np.ndarray:
        size = self._pairs[kind]
        start = worker * self._stride + self._up + 2 * sum(self._pairs[:kind]) + (sequence % 2) * size
        return self._memory[start : start + size]
