"""Centers that a server keeps until they are evaluated."""

import os
import tempfile
from typing import Any

import jax
import numpy as np

from distopt.rules import Params

SNAPSHOT_MEMORY = 2**30  # bytes kept in memory; later snapshots go to a temporary folder


class Snapshots:
    """Centers to be evaluated later. A center is never written to, so keeping one costs no copy."""

    def __init__(self) -> None:
        self._heads: list[dict[str, Any]] = []
        self._kept: list[Params | str] = []
        self._bytes = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __len__(self) -> int:
        """Return the number of snapshots."""
        return len(self._heads)

    @property
    def last(self) -> int:
        """Return the update of the latest snapshot."""
        return self._heads[-1]["update"]

    def add(self, update: int, time_s: float, samples: int, center: Params) -> None:
        """Keep a center."""
        self._bytes += sum(leaf.nbytes for leaf in jax.tree.leaves(center))
        self._kept.append(center if self._bytes <= SNAPSHOT_MEMORY else self._write(center))
        self._heads.append({"update": update, "time_s": time_s, "samples": samples})

    def _write(self, center: Params) -> str:
        """Keep a center in a file, and return its path."""
        self._folder = self._folder or tempfile.TemporaryDirectory(prefix="distopt-")
        leaves, self._tree = jax.tree.flatten(center)
        path = os.path.join(self._folder.name, f"{len(self._kept)}.npz")
        np.savez(path, *[np.asarray(leaf) for leaf in leaves])
        return path

    def get(self, index: int) -> tuple[dict[str, Any], Params]:
        """Return a snapshot with its arrays on the host."""
        kept = self._kept[index]
        if isinstance(kept, str):
            with np.load(kept, allow_pickle=False) as arrays:
                leaves = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
            return self._heads[index], jax.tree.unflatten(self._tree, leaves)
        return self._heads[index], jax.tree.map(np.asarray, kept)
