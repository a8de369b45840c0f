"""Arrays that stay in their files: the same rows as in memory, in every process, and never the whole."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from distopt import datasets
from distopt.datasets import npz
from distopt.datasets.mapped import Mapped, Rows, chunks, select
from distopt.errors import DataError

X = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.fixture
def mapped(tmp_path: Path) -> Mapped:
    (tmp_path / "x.bin").write_bytes(b"head" + X.tobytes())
    return Mapped(tmp_path / "x.bin", np.float32, 4, X.shape)


def test_rows_are_those_of_the_array(mapped: Mapped) -> None:
    assert (mapped.shape, mapped.dtype, len(mapped), mapped.size, mapped.nbytes, mapped.ndim) == (
        X.shape, np.float32, 20, 60, 240, 2,
    )  # fmt: skip
    for rows in (slice(2, 5), slice(None), np.array([7, 3, 3]), np.array([[1, 2], [3, 4]])):
        assert np.array_equal(mapped[rows], X[rows])
    some = np.array([9, 4, 2])
    chosen = Rows(mapped, some, np.float64)
    assert (chosen.shape, chosen.dtype) == ((3, 3), np.float64)
    assert np.array_equal(chosen[np.array([2, 0])], X[[2, 9]])
    assert np.array_equal(select(mapped, some)[:], select(X, some))
    assert np.array_equal(np.concatenate([part for _, part in chunks(mapped)]), X)


def test_they_travel_as_the_name_of_their_file(mapped: Mapped) -> None:
    mapped[:]
    sent = pickle.dumps(Rows(mapped, np.array([1])))
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent)[:], X[[1]])
    mapped.path.write_bytes(mapped.path.read_bytes() + b"more")
    with pytest.raises(DataError, match=r"x\.bin: has changed since the run began"):
        pickle.loads(sent)[:]
    mapped.path.unlink()
    with pytest.raises(DataError, match=r"x\.bin: cannot be read here .*every machine needs it"):
        pickle.loads(sent)[:]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_large_features_stay_in_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: type) -> None:
    monkeypatch.setattr(npz, "LARGE", 100)
    x, y = X.astype(dtype), np.arange(20) % 2
    found = []
    for i, save in enumerate((np.savez, np.savez_compressed)):
        save(tmp_path / f"{i}.npz", train_y=y, train_x=x)
        found.append(datasets.load({"name": "npz", "partition": "iid", "file": str(tmp_path / f"{i}.npz")}))
    there, here = found
    assert there is not None
    assert here is not None
    assert isinstance(there.train[0], Rows)
    assert isinstance(here.train[0], np.ndarray)
    for part in ("train", "validation"):
        for one, other in zip(getattr(there, part), getattr(here, part), strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            assert np.array_equal(one[:], other)
    spoilt = x.astype(np.float32)
    spoilt[13] = np.nan
    np.savez(tmp_path / "d.npz", train_x=spoilt, train_y=y)
    with pytest.raises(DataError, match="not finite in 1 samples, first in sample 13"):
        datasets.load({"name": "npz", "partition": "iid", "file": str(tmp_path / "d.npz")})
