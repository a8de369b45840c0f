"""Sparse features from files: what is read, what is told, what is refused."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import dump_svmlight_file

import distopt
from distopt import datasets
from distopt.errors import ConfigError, DataError
from distopt.files import memory
from tests.datasets.test_own import load

RNG = np.random.default_rng(0)
X = np.where(RNG.random((60, 12)) < 0.3, RNG.normal(size=(60, 12)), 0).round(3)
X[:, 11] = np.arange(1, 61)  # so that the highest index is there, and no two samples are the same
Y = np.array([-1, 1, 3])[RNG.integers(3, size=60)]


def save(path: Path, x: np.ndarray = X, y: Any = Y, **more: Any) -> str:
    dump_svmlight_file(x, y, str(path), **more)
    return str(path)


def dense(features: Any, size: int = 12) -> np.ndarray:
    index, value = features
    found = np.zeros((len(index), size + 1), np.float32)
    np.add.at(found, (np.arange(len(index))[:, None], index), value)
    assert not found[:, size].any()
    return found[:, :size]


@pytest.mark.parametrize("zero_based", [False, True])
def test_classes_of_sparse_features(tmp_path: Path, zero_based: bool) -> None:
    found = load("svmlight", file=save(tmp_path / "t.svm", zero_based=zero_based), zero_based=zero_based)
    assert (found.shape, found.classes, found.size, found.sparse, found.kind) == ((12,), 3, 48, True, "classes")
    parts = [dense(part[0]) for part in (found.train, found.validation)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts), axis=0), np.sort(X.astype(np.float32), axis=0))
    for x, (_, y) in zip(parts, (found.train, found.validation), strict=True):
        at = [int(np.flatnonzero((X.astype(np.float32) == row).all(axis=1))[0]) for row in x]
        assert (np.array([-1, 1, 3])[y] == Y[at]).all()
    index, value = found.train[0]
    assert (index.dtype, value.dtype, index.shape) == (np.int32, np.float32, value.shape)
    assert (value[index == 12] == 0).all()
    assert "60 samples of 12 features; half of them have at most" in found.told[0]
    assert f"labels of {tmp_path / 't.svm'}: 3 classes: -1 (" in found.told[1]
    assert found.keys is not None
    assert found.keys.tolist() == found.train[1].tolist()


def test_both_files_say_where_indices_start(tmp_path: Path) -> None:
    """The second file has an index 0, so that a 1 of the first is the second feature."""
    (tmp_path / "t.svm").write_text("1 1:5\n0 3:6\n")
    (tmp_path / "v.svm").write_text("1 0:7\n0 1:8\n")
    files = {"file": str(tmp_path / "t.svm"), "validation_file": str(tmp_path / "v.svm")}
    found = load("svmlight", **files)
    assert dense(found.train[0], 4).tolist() == [[0, 5, 0, 0], [0, 0, 0, 6]]
    assert dense(found.validation[0], 4).tolist() == [[7, 0, 0, 0], [0, 8, 0, 0]]
    with pytest.raises(DataError, match=r"validation_file=.*v.svm: line 1 .*Invalid index 0.*set dataset.zero_based"):
        load("svmlight", **files, zero_based=False)
    (tmp_path / "v.svm").write_text("1 1:7\n0 2:8 9:1\n")
    assert load("svmlight", **files).shape == (9,)
    assert load("svmlight", **files, features=20).shape == (20,)
    with pytest.raises(DataError, match=r"dataset.features=5: .*v.svm has 9 features"):
        load("svmlight", **files, features=5)


def test_packed_files_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "t.svm.gz").write_bytes(gzip.compress(Path(save(tmp_path / "t.svm")).read_bytes()))
    plain, packed = (load("svmlight", file=str(tmp_path / name)) for name in ("t.svm", "t.svm.gz"))
    np.testing.assert_array_equal(plain.train[0][0], packed.train[0][0])
    np.testing.assert_array_equal(plain.train[0][1], packed.train[0][1])


def test_numbers_and_labels(tmp_path: Path) -> None:
    numbers = load("svmlight", file=save(tmp_path / "n.svm", y=X @ np.arange(12)), kind="numbers")
    assert (numbers.kind, numbers.train[1].dtype, numbers.sparse) == ("numbers", np.float32, True)
    one = load("svmlight", file=save(tmp_path / "b.svm", y=np.where(Y > 0, 1, -1)), kind="labels")
    assert (one.kind, one.classes, one.train[1].shape) == ("labels", 1, (48, 1))
    (tmp_path / "m.svm").write_text("1,3 1:1\n 2:1\n3 1:2\n1,7 3:1\n7 1:1\n 1:1\n1 1:3\n3 1:1\n" * 4)
    several = load("svmlight", file=str(tmp_path / "m.svm"), kind="labels")
    assert (several.classes, several.train[1].dtype) == (3, np.int8)
    assert "3 labels: 1 (12), 3 (12), 7 (8); " in several.told[1]
    total = several.train[1].sum(axis=0) + several.validation[1].sum(axis=0)
    assert total.tolist() == [12, 12, 8]


@pytest.mark.parametrize(
    ("text", "settings", "told"),
    [
        ("1 1:2\n0 3:1 2:5\n", {}, r"line 2 is not `label index:value index:value ...` \(Feature indices .* sorted"),
        ("1 1:2\n0 2:1 2:5\n", {}, r"line 2 is not .* \(Feature indices .* sorted and unique"),
        ("1 1:2\n" * 9 + "owl 2:5\n" + "1 1:1\nx\n" * 5, {}, r"line 10 is not .*could not convert string.*owl"),
        ("1 1:2\n0 2\n", {}, r"dataset.file=.*: line 2 is not"),
        ("1 -1:2\n0 2:1\n", {}, r"line 1 is not .*Invalid index -1"),
        ("1 1:2\n0 99999999999:1\n", {}, r"line 2 is not .*too large"),
        ("1 1:2\n0 7:1\n", {"features": 6}, r"dataset.features=6: .*t.svm has 7 features"),
        (
            "1 1:2\n0 2:1 3:nan\n",
            {},
            r"a value is missing or not finite in 1 samples, first in sample 1 \(counted from 0\)",
        ),
        ("1 1:1e300\n0 2:1\n", {}, r"a value is missing or not finite in 1 samples, first in sample 0"),
        ("", {}, "holds no samples"),
        ("\x00\x01\x02", {}, "line 1 is not"),
        ("1,2 1:1\n0 1:1\n", {}, r"line 1 is not .*b'1,2'"),
        ("1 1:1\n1 1:1\n", {}, r"all labels are 1\.0; at least two classes are needed"),
    ],
    ids=range(13),
)
def test_what_is_refused(tmp_path: Path, text: str, settings: dict[str, Any], told: str) -> None:
    (tmp_path / "t.svm").write_text(text)
    with pytest.raises(DataError, match=told) as error:
        load("svmlight", file=str(tmp_path / "t.svm"), **settings)
    assert "\n" not in str(error.value)


def test_files_that_do_not_fit_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "t.svm")
    (tmp_path / "wide.svm").write_text("1 1:1\n0 2:1\n" * 500 + "1 " + " ".join(f"{i}:1" for i in range(1, 20_000)))
    monkeypatch.setattr(memory, "free", lambda: 1000)
    with pytest.raises(DataError, match=r"t.svm: cannot be read as svmlight \(t.svm needs .* of memory"):
        load("svmlight", file=file)
    monkeypatch.setattr(memory, "free", lambda: 10_000_000)
    with pytest.raises(
        DataError, match=r"every sample padded to 19,999 values, needs 320.\d MB of memory, 10.0 MB are"
    ):
        load("svmlight", file=str(tmp_path / "wide.svm"))
    with pytest.raises(DataError, match=r"dataset.file=nowhere.svm: no such file"):
        load("svmlight", file="nowhere.svm")


def test_one_long_sample_is_told(tmp_path: Path) -> None:
    (tmp_path / "t.svm").write_text("1 1:1 2:1\n0 2:1\n" * 50 + "1 " + " ".join(f"{i}:1" for i in range(1, 101)))
    (said,) = load("svmlight", file=str(tmp_path / "t.svm")).warnings
    assert "at most 2 values, the longest has 100; all are padded to the longest, to 80800 bytes" in said
    assert not load("svmlight", file=save(tmp_path / "even.svm")).warnings


def test_settings_and_models_that_do_not_fit(tmp_path: Path) -> None:
    file = save(tmp_path / "t.svm")
    data = ["launcher=sim", "dataset=svmlight", f"dataset.file={file}"]
    with pytest.raises(ConfigError, match=r"model=mlp_thesis takes no sparse features; .* for model=mlp, logistic"):
        distopt.run([*data, "model=mlp_thesis"])
    with pytest.raises(ConfigError, match=r"dataset.zero_based=1 must be auto, true or false"):
        distopt.run([*data, "dataset.zero_based=1"])
    with pytest.raises(ConfigError, match=r"dataset.features=0 must be a whole number >= 1 or null"):
        distopt.run([*data, "dataset.features=0"])


def test_prediction_needs_no_run(tmp_path: Path) -> None:
    settings = {"name": "svmlight", "file": save(tmp_path / "t.svm")}
    assert datasets.size(settings) == datasets.Size(48, (12,), 3, "classes", sparse=True)
