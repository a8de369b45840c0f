"""A loaded data set."""

from typing import Any, NamedTuple

import numpy as np

from distopt.datasets.mapped import select
from distopt.records import Kind

Samples = tuple[Any, ...]
"""Arrays with one row per sample, in tuples that may hold tuples; a batch has some of the rows of each. They are NumPy
arrays, or what is indexed like them and stays on disk, see `mapped` and `blocks`."""


class Dataset(NamedTuple):
    """Training part and validation part, of the same structure.

    - `classes`, `numbers` and `labels`: `(x, y)` with features x, float32 of shape (N, *shape), and per sample a class,
      int32 in 0 .. classes - 1, a number, float32, or which labels hold, int8 of shape (N, classes).
      Sparse features are `((index, value), y)` instead: index int32 of shape (N, K), padded with d, and value float32,
      padded with 0, where `shape` is (d,). `(x, y, taught)` where a teacher has said something of each sample.
    - `tokens`: `(blocks,)`, integers below `classes` of shape (N, T + 1), where `shape` is (T,); of documents `(blocks,
      weights)`, with what each prediction counts, of shape (N, T).
    - `ratings`: `(user, item, rating)`, int32 and float32 of shape (N,), where `shape` is (users, items).
    - `ranking`: `(user, items, seen)`, a user per sample, int32 of shape (N,), with items to rank high and items to
      leave out, int32 of shape (N, K) and (N, S), padded with the number of items. K and S differ between the parts.
    """

    name: str
    train: Samples
    validation: Samples
    shape: tuple[int, ...]  # of one sample, as a model takes it
    classes: int
    kind: Kind = "classes"
    keys: np.ndarray | None = None  # whole numbers, one per training sample, by which shards may differ
    told: tuple[str, ...] = ()  # what was taken of a user's own file, in lines
    warnings: tuple[str, ...] = ()  # what looks wrong in it
    content: str | None = None  # a hash of the samples, if no setting names a file that has them
    teacher: Any = None  # who will say something of each sample, see `distopt.training.teacher`

    @property
    def size(self) -> int:
        """Number of training samples."""
        return length(self.train)

    @property
    def sparse(self) -> bool:
        """Whether features are pairs (index, value)."""
        return isinstance(self.train[0], tuple)


def leaves(samples: Samples) -> list[Any]:
    """Return the arrays."""
    return [leaf for each in samples for leaf in (leaves(each) if isinstance(each, tuple) else [each])]


def whole(samples: Samples) -> Samples:
    """Return the arrays in memory."""
    return tuple(whole(each) if isinstance(each, tuple) else each[:] for each in samples)


def in_memory(samples: Samples) -> int:
    """Return the bytes of the arrays that are in memory."""
    return sum(leaf.nbytes for leaf in leaves(samples) if isinstance(leaf, np.ndarray))


def length(samples: Samples) -> int:
    """Return the number of samples."""
    return len(leaves(samples)[0])


def take(samples: Any, rows: np.ndarray) -> Any:
    """Return some of the samples, without reading those that stay on disk."""
    return tuple(take(part, rows) for part in samples) if isinstance(samples, tuple) else select(samples, rows)


def classified(name: str, train: Samples, validation: Samples, classes: int) -> Dataset:
    """Return a data set of features and classes; shards may differ by class."""
    return Dataset(name, train, validation, train[0].shape[1:], classes, keys=train[1])


def pixels(raw: np.ndarray) -> np.ndarray:
    """Return bytes 0 .. 255 as float32 in [0, 1], without a float64 copy in between."""
    return np.divide(raw, np.float32(255), dtype=np.float32)


def stratified(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of a training part and of a validation part of at most floor(fraction * N) samples.

    The samples are shuffled and sorted by label, and evenly spaced positions are held out, so that the share of every
    class is `fraction` to within one sample; no class is held out whole. The split depends only on the labels, not on a
    run's seed: runs with different seeds are validated on the same samples.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    held_out = np.diff(np.floor(np.arange(len(labels) + 1) * fraction)) > 0
    kept = np.bincount(labels[order[~held_out]], minlength=int(labels.max(initial=0)) + 1)
    _, first = np.unique(labels[order], return_index=True)
    held_out[first[kept[labels[order[first]]] == 0]] = False
    return np.sort(order[~held_out]), np.sort(order[held_out])


def scattered(values: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices of a training part and of a validation part of floor(fraction * N) samples, at random.

    The split depends only on the number of samples.
    """
    order = np.random.default_rng(0).permutation(len(values))
    held_out = int(len(order) * fraction)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
