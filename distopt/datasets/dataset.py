"""A loaded data set."""

from typing import NamedTuple

import numpy as np

from distopt.records import Kind


class Dataset(NamedTuple):
    """Samples in memory: training part and validation part.

    Features are float32 of shape (N, *shape), labels int32 of shape (N,) with values 0 .. classes - 1. A text, of the
    kind `tokens`, has blocks of T + 1 tokens below `classes` as features of shape (T,), and no labels.
    """

    name: str
    train_x: np.ndarray
    train_y: np.ndarray | None
    validation_x: np.ndarray
    validation_y: np.ndarray | None
    classes: int
    told: tuple[str, ...] = ()  # what was taken of a user's own file, in lines
    warnings: tuple[str, ...] = ()  # what looks wrong in it
    kind: Kind = "classes"

    @property
    def train(self) -> tuple[np.ndarray, ...]:
        """The training part as batches are cut from it."""
        return (self.train_x,) if self.train_y is None else (self.train_x, self.train_y)

    @property
    def validation(self) -> tuple[np.ndarray, ...]:
        """The validation part as batches are cut from it."""
        return (self.validation_x,) if self.validation_y is None else (self.validation_x, self.validation_y)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, as a model takes it."""
        return (self.train_x.shape[1] - 1,) if self.kind == "tokens" else self.train_x.shape[1:]

    @property
    def size(self) -> int:
        """Number of training samples."""
        return len(self.train_x)


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
