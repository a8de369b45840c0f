"""The user's own files: arrays and tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from distopt import datasets
from distopt.errors import DataError

RNG = np.random.default_rng(0)


def table(rows: int = 40) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "width": RNG.normal(5, 2, rows),
            "count": np.arange(rows),
            "label": np.array(["owl", "cat"])[np.arange(rows) % 2],
            "note": "x",
            "flat": 1.5,
        }
    )


def save(frame: pd.DataFrame, path: Path) -> str:
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return str(path)


def load(name: str, **settings: Any) -> datasets.Dataset:
    loaded = datasets.load({"name": name, **settings})
    assert loaded is not None
    return loaded


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_table(tmp_path: Path, name: str) -> None:
    loaded = load(name, file=save(table(), tmp_path / f"t.{name}"), validation_fraction=0.25)
    assert (loaded.shape, loaded.size, len(loaded.validation[1]), loaded.classes) == ((3,), 30, 10, 2)
    assert (loaded.train[0].dtype, loaded.train[1].dtype) == (np.float32, np.int32)
    assert np.allclose(loaded.train[0].mean(axis=0), 0, atol=1e-6)
    assert np.allclose(loaded.train[0].std(axis=0), [1, 1, 0], atol=1e-6)
    assert np.array_equal(np.bincount(loaded.validation[1]), [5, 5])


def test_columns_and_label_as_chosen(tmp_path: Path) -> None:
    frame = table()
    loaded = load("csv", file=save(frame, tmp_path / "t.csv"), features=["count"], label="label", standardize=False)
    counts = np.concatenate([loaded.train[0], loaded.validation[0]])[:, 0].astype(int)
    labels = np.concatenate([loaded.train[1], loaded.validation[1]])
    assert np.array_equal(np.sort(counts), np.arange(40))
    assert np.array_equal(labels, (counts % 2 == 0).astype(int))  # cat comes before owl


def test_validation_file_is_scaled_like_the_training_file(tmp_path: Path) -> None:
    train, validation = table(40), table(11)
    settings = {"features": ["count"], "file": save(train, tmp_path / "t.csv")}
    loaded = load("csv", **settings, validation_file=save(validation, tmp_path / "v.csv"))
    assert (loaded.size, len(loaded.validation[1])) == (40, 11)
    assert np.array_equal(loaded.validation[0], loaded.train[0][:11])


@pytest.mark.parametrize(
    ("values", "classes"),
    [([10, 2, 10, 2], [1, 0, 1, 0]), ([0.0, 1.0, 0.0, 1.0], [0, 1, 0, 1]), ([True, False] * 2, [1, 0, 1, 0])],
)
@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_labels_become_classes_in_sorted_order(tmp_path: Path, name: str, values: list, classes: list) -> None:
    frame = pd.DataFrame({"x": range(4), "label": values})
    file = save(frame, tmp_path / f"t.{name}")
    loaded = load(name, file=file, validation_file=file)
    assert np.array_equal(loaded.train[1], classes)


def test_whole_numbers_that_may_be_missing_sort_as_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": pd.array([1, 2, 3], "Int64"), "label": pd.array([10, 2, 10], "Int64")})
    file = save(frame, tmp_path / "t.parquet")
    assert np.array_equal(load("parquet", file=file, validation_file=file).train[1], [1, 0, 1])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "cannot be read as csv"),
        (b"a,label\n", "holds no samples"),
        (b"a,label\n\xff\xfe,1\n2,3\n", "is not UTF-8 text"),
        (b"a,label\n1,0\n2,1,5\n", "cannot be read as csv"),
        (b"a,label\n1,0,7\n2,1,5\n", "fewer columns"),
        (b"a,label\n1,0\n,1\n", "column a is missing or not finite in 1 samples, first in sample 1"),
        (b"a,label\n1,0\ninf,1\n", "column a is missing or not finite"),
        (b"a,label\n1,0\n1e300,1\n", "column a is missing or not finite"),
        (b"a,label\n1,0\n2,\n", "dataset.label=label: missing in 1 rows"),
        (b"a,label\n1,0.5\n2,1\n", "no whole number"),
        (b"a,label\n1,inf\n2,1\n", "no whole number"),
        (b"a,label\n1,3\n2,3\n", "at least two classes"),
        (b"a,class\n1,0\n2,1\n", "dataset.label=label: no such column in .*, it has a, class"),
        (b"a,label\nx,0\ny,1\n", "no numeric column besides the label label"),
        (b"a,label\n1,0\n2,1\n", "validation_fraction=0.2: leaves no sample"),
    ],
)
def test_bad_csv(tmp_path: Path, text: bytes, told: str) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(DataError, match=told):
        load("csv", file=str(tmp_path / "t.csv"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"features": ["width", "hight"]}, "dataset.features=hight: no such column in .*, it has width, count, label"),
        ({"features": ["note"]}, "dataset.features=note: not numeric"),
        ({"validation_file": "nowhere"}, "dataset.validation_file=nowhere: no such file"),
    ],
)
def test_settings_that_do_not_fit_the_table(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        load("csv", file=save(table(), tmp_path / "t.csv"), **settings)


def test_label_of_another_kind_in_the_validation_file(tmp_path: Path) -> None:
    file, other = save(table(), tmp_path / "t.csv"), save(table().assign(label=range(40)), tmp_path / "v.csv")
    with pytest.raises(DataError, match="numbers in one part and text in the other"):
        load("csv", file=file, validation_file=other)


@pytest.mark.parametrize("name", ["csv", "parquet", "npz"])
def test_missing_file_and_folder_in_its_place(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"dataset\.file=.*nowhere: no such file"):
        load(name, file=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=rf"dataset\.file={tmp_path}"):
        load(name, file=str(tmp_path))


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_truncated_parquet(tmp_path: Path, keep: int) -> None:
    file = tmp_path / "t.parquet"
    save(table(), file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(DataError, match="cannot be read as parquet"):
        load("parquet", file=str(file))


def save_arrays(path: Path, **arrays: Any) -> str:
    defaults = {"train_x": RNG.normal(size=(20, 4, 3)), "train_y": np.arange(20) % 4}
    np.savez(path, **(defaults | arrays))
    return str(path)


def test_arrays(tmp_path: Path) -> None:
    file = save_arrays(tmp_path / "a.npz")
    loaded = load("npz", file=file)
    assert (loaded.shape, loaded.size, len(loaded.validation[1]), loaded.classes) == ((4, 3), 16, 4, 4)
    assert (loaded.train[0].dtype, loaded.train[1].dtype) == (np.float32, np.int32)


def test_arrays_under_other_names(tmp_path: Path) -> None:
    x, names = np.arange(6.0).reshape(3, 2), np.array(["b", "a", "c"])
    file = save_arrays(tmp_path / "a.npz", images=x, names=names)
    keys = {"train_x": "images", "train_y": "names", "validation_x": "images", "validation_y": "names"}
    loaded = load("npz", file=file, **keys)
    assert np.array_equal(loaded.validation[0], x)
    assert np.array_equal(loaded.train[1], [1, 0, 2])


@pytest.mark.parametrize(
    ("arrays", "settings", "told"),
    [
        ({}, {"train_x": "x"}, "dataset.train_x=x: no such array in .*, it has train_x, train_y"),
        ({"train_x": np.array([[{}]])}, {}, "array train_x holds Python objects, which are never read"),
        ({"train_x": np.zeros(20)}, {}, r"train features of shape \(20,\)"),
        ({"train_x": np.full((20, 2), "a")}, {}, "train features of shape"),
        ({"train_x": np.full((20, 2), np.nan)}, {}, "not finite in 20 samples, first in sample 0"),
        ({"train_x": np.zeros((0, 2)), "train_y": np.zeros(0)}, {}, "holds no samples"),
        ({"train_y": np.zeros(19)}, {}, "20 samples, but 19 labels"),
        ({"train_y": np.zeros((20, 1))}, {}, r"train labels of shape \(20, 1\)"),
        ({"train_y": np.zeros(20)}, {}, "at least two classes"),
        ({"vx": np.zeros((2, 5)), "vy": [0, 1]}, {"validation_x": "vx", "validation_y": "vy"}, r"validation of \(5,\)"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, Any], settings: dict[str, str], told: str) -> None:
    with pytest.raises(DataError, match=told):
        load("npz", file=save_arrays(tmp_path / "a.npz", **arrays), **settings)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 and no more"])
def test_no_arrays_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as .npz"):
        load("npz", file=str(tmp_path / "a.npz"))


def test_one_array_without_a_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"numpy\.savez"):
        load("npz", file=str(tmp_path / "a.npy"))


def test_truncated_arrays(tmp_path: Path) -> None:
    file = Path(save_arrays(tmp_path / "a.npz"))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cannot be read as .npz"):
        load("npz", file=str(file))
