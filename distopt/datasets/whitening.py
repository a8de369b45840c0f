"""Whitening of features before training: every direction gets about the same variance, and images stay images (ZCA).

    z = (x − m) / √(v + 10/255²)        of each image, with its mean m and variance v; other features stay as they are
    x' = U (Λ + ε I)^−½ Uᵀ (z − μ)      with mean μ and covariance U Λ Uᵀ of the training part

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, appendix A; contrast normalisation
and ε as in A. Coates, A. Ng, H. Lee, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", 2011.
"""

import hashlib
import io

import numpy as np

from distopt.datasets.dataset import Dataset
from distopt.datasets.mapped import chunks
from distopt.datasets.sources import cache
from distopt.errors import DataError
from distopt.files.atomic import write_atomically
from distopt.files.untrusted import BROKEN

CONTRAST = 10 / 255**2  # added to the variance of an image with values in [0, 1]
KEPT = 1024  # features from which on the matrix is kept in the cache: it takes a minute
MOST = 10_000  # features; the matrix has their square


def whitened(data: Dataset, epsilon: float) -> Dataset:
    """Return data with whitened features; the training part decides how.

    Args:
        data: with features in memory.
        epsilon: ε > 0, in units of the variance of a feature; directions of less variance are left small.

    Raises:
        DataError: features that are sparse, too many, or stay in their file.
    """
    (x, *rest), (validation, *others) = data.train, data.validation
    if data.kind not in ("classes", "numbers", "labels") or not isinstance(x, np.ndarray):
        raise DataError(f"dataset.whiten={epsilon:g}: needs dense features in memory; set it to null")
    if (features := int(np.prod(data.shape))) > MOST:
        raise DataError(f"dataset.whiten={epsilon:g}: {features:,} features are more than {MOST:,}; set it to null")
    mean, matrix = _matrix(x, epsilon)
    train, validation = (_apply(part, mean, matrix) for part in (x, validation))
    return data._replace(train=(train, *rest), validation=(validation, *others))


def _flat(x: np.ndarray) -> np.ndarray:
    """Return features as rows of float64, the contrast of images normalized."""
    rows = x.reshape(len(x), -1).astype(np.float64)
    if x.ndim < 3:
        return rows
    return (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + CONTRAST)


def _matrix(x: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Return μ and U (Λ + ε I)^−½ Uᵀ, float64 of shapes (d,) and (d, d)."""
    features = int(np.prod(x.shape[1:]))
    path = cache("whitening") / f"{_content(x)}-{epsilon!r}.npy"
    if features >= KEPT and path.is_file():
        try:
            found = np.load(path, allow_pickle=False)
        except BROKEN:  # computed anew
            found = np.empty(0)
        if found.shape == (features + 1, features):
            return found[0], found[1:]
    total, square = np.zeros(features), np.zeros((features, features))
    for _, some in chunks(x):
        rows = _flat(some)
        total += rows.sum(axis=0)
        square += rows.T @ rows
    mean = total / len(x)
    values, vectors = np.linalg.eigh(square / len(x) - np.outer(mean, mean))
    matrix = (vectors / np.sqrt(np.maximum(values, 0) + epsilon)) @ vectors.T
    if features >= KEPT:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.save(content, np.vstack([mean, matrix]))
        write_atomically(path, content.getvalue())
    return mean, matrix


def _content(x: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(x).data, digest_size=16).hexdigest()


def _apply(x: np.ndarray, mean: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return x', float32 of the shape of x."""
    parts = [((_flat(some) - mean) @ matrix).astype(np.float32) for _, some in chunks(x)]
    return np.concatenate(parts).reshape(x.shape) if parts else x
