"""Whitened features: uncorrelated on the training part, the same map for both parts, images still images."""

from pathlib import Path

import numpy as np
import pytest

from distopt import datasets
from distopt.datasets import whitening
from distopt.datasets.dataset import Dataset, classified
from distopt.datasets.whitening import whitened
from distopt.errors import DataError

RNG = np.random.default_rng(0)


def correlated(samples: int, *shape: int) -> np.ndarray:
    size = int(np.prod(shape))
    mixed = RNG.normal(size=(samples, size)) @ (np.eye(size) + 0.5 * RNG.normal(size=(size, size))) + 3
    return mixed.reshape(samples, *shape).astype(np.float32)


def data(x: np.ndarray) -> Dataset:
    y = np.arange(len(x), dtype=np.int32) % 2
    return classified("some", (x, y), (x[:7], y[:7]), 2)


def test_features_are_uncorrelated_and_of_variance_one() -> None:
    found = whitened(data(correlated(400, 6)), 1e-9)
    x = found.train[0].astype(float)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x.T @ x / len(x), np.eye(6), atol=1e-4)
    assert np.array_equal(found.validation[0], found.train[0][:7])
    assert np.array_equal(found.keys, data(correlated(400, 6)).keys)


def test_the_matrix_is_symmetric_and_epsilon_keeps_small_directions_small() -> None:
    """A direction of variance λ gets λ / (λ + ε)."""
    x = RNG.normal(size=(5000, 2)).astype(np.float32) * [2, 0.1]
    mean, matrix = whitening._matrix(x.astype(np.float32), 0.01)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    variances = np.var((x - mean) @ matrix, axis=0)
    np.testing.assert_allclose(variances, [4 / 4.01, 0.01 / 0.02], rtol=0.05)


def test_images_have_their_contrast_normalized_first() -> None:
    x = correlated(300, 3, 3)
    brighter = 2 * x + 0.5
    found, other = (whitened(data(each), 0.1).train[0] for each in (x, brighter))
    assert found.shape == x.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, other, atol=2e-3)


def test_large_matrices_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(whitening, "KEPT", 4)
    first = whitened(data(x := correlated(50, 4)), 0.1).train[0]
    [kept] = tmp_path.rglob("*.npy")
    monkeypatch.setattr(np.linalg, "eigh", None)  # it is not needed any more
    assert np.array_equal(whitened(data(x), 0.1).train[0], first)
    kept.write_bytes(b"damaged")
    with pytest.raises(TypeError):
        whitened(data(x), 0.1)


def test_what_cannot_be_whitened_is_refused() -> None:
    blocks = np.zeros((4, 5), np.uint8)
    with pytest.raises(DataError, match=r"dataset\.whiten=0\.1: needs dense features in memory; set it to null"):
        whitened(Dataset("t", (blocks,), (blocks,), (4,), 256, kind="tokens"), 0.1)
    with pytest.raises(DataError, match=r"dataset\.whiten=0 must be a number > 0 or null"):
        datasets.load({"name": "digits", "partition": "iid", "whiten": 0})


def test_digits_can_be_whitened() -> None:
    plain, found = (datasets.load({"name": "digits", "partition": "iid", "whiten": e}) for e in (None, 0.1))
    assert plain is not None
    assert found is not None
    assert (found.shape, found.size) == (plain.shape, plain.size)
    rows = found.train[0].reshape(found.size, -1)
    spread = np.linalg.eigvalsh(np.cov(rows.T))
    assert spread.max() < 1.01
