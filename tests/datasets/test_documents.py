"""Documents in a column of Parquet, or of a folder of Arrow files; and tables in such folders."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distopt
from distopt import datasets
from distopt.datasets import documents
from distopt.errors import DataError
from distopt.files import digest
from tests.datasets.test_own import load, save, table
from tests.launchers.test_replay import center

TEXTS = ["the owl", "", "and the pussycat é", None, "went to sea\r\n", "x", "in a beautiful pea-green boat"]
STREAM = b"\0".join(text.encode() for text in TEXTS if text)
SETTINGS = {"text": "text", "context": 4, "validation_fraction": 0.25}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "distopt" / "documents"


def saved(folder: Path, columns: pa.Table, files: int = 2, **state: Any) -> str:
    """A folder as `save_to_disk` of `datasets` 5.2 leaves it."""
    folder.mkdir()
    names = [f"data-{i:05}-of-{files:05}.arrow" for i in range(files)]
    size = -(-len(columns) // files)
    for i, name in enumerate(names):
        with pa.ipc.new_stream(folder / name, columns.schema) as stream:
            stream.write_table(columns.slice(i * size, size), max_chunksize=3)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]} | state))
    (folder / "dataset_info.json").write_text("{}")
    return str(folder)


def written(folder: Path, name: str, texts: list[Any] | pa.Array) -> str:
    columns = pa.table({"text": texts})
    if name == "arrow":
        return saved(folder / "t", columns)
    pq.write_table(columns, folder / "t.parquet", row_group_size=3)
    return str(folder / "t.parquet")


def blocks(found: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    leaves = zip(found.train, found.validation, strict=True)
    one, other = (np.concatenate([train[:], validation[:]]) for train, validation in leaves)
    return one, other


@pytest.mark.parametrize("name", ["parquet", "arrow"])
@pytest.mark.parametrize("type", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_documents_are_their_bytes_and_borders_count_nothing(tmp_path: Path, cache: Path, name: str, type: Any) -> None:
    file = written(tmp_path, name, pa.array(TEXTS, pa.string()).cast(type))
    found = load(name, file=file, **SETTINGS)
    [kept] = cache.iterdir()
    assert kept.read_bytes() == STREAM
    tokens, weights = blocks(found)
    count = (len(STREAM) - 1) // 4
    assert (found.kind, found.classes, found.shape, len(tokens)) == ("tokens", 256, (4,), count)
    assert tokens[:, 1:].tobytes() == STREAM[1 : 1 + 4 * count]
    assert weights.ravel().tolist() == [int(byte != 0) for byte in STREAM[: 4 * count]]
    assert (weights.sum(axis=1) >= 2).all()
    assert found.told == (
        f"{file}: 5 documents in the column text, {len(STREAM)} bytes, {len(set(STREAM))} different ones; "
        f"{found.size} blocks of 4 bytes to train on, the last {len(found.validation[0])} to validate on",
    )


def test_they_are_encoded_once_and_anew_when_the_file_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "parquet", TEXTS)
    load("parquet", file=file, **SETTINGS)
    with monkeypatch.context() as patched:
        patched.setattr(documents, "_write", lambda *_: pytest.fail("it was there"))
        load("parquet", file=file, validation_file=file, **SETTINGS)
    written(tmp_path, "parquet", ["some other text"] * 3)
    assert bytes(blocks(load("parquet", file=file, **SETTINGS))[0][0]) == b"some "
    assert len(list(cache.iterdir())) == 2


def test_two_at_once_make_one_file(tmp_path: Path, cache: Path) -> None:
    file = written(tmp_path, "parquet", TEXTS * 300)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load("parquet", file=file, **SETTINGS), range(4)))
    assert [path.name.endswith(".bin") for path in cache.iterdir()] == [True]
    assert len({digest.of_arrays(blocks(each)) for each in found}) == 1


@pytest.mark.slow
def test_a_model_learns_documents_in_both_engines_and_is_repeated(tmp_path: Path) -> None:
    file = written(tmp_path, "parquet", [f"{i % 7} owls and {i % 5} cats" for i in range(200)])
    overrides = ["model=gpt", "model.width=16", "model.heads=2", "model.layers=1", "dataset=parquet", "batch_size=4"]
    overrides += [f"dataset.file={file}", "dataset.text=text", "dataset.context=16", "workers=3", "epochs=3"]
    overrides += ["local.learning_rate=0.01", "evaluate.points=2", "optimizer=averaging", f"output={tmp_path / 'runs'}"]
    one, other = (distopt.run(["launcher=sim", *overrides, f"launcher.width={width}"]) for width in (1, 4))
    first, last = one.evals["bits_per_byte"].iloc[[0, -1]]
    assert first == pytest.approx(8, abs=0.25)
    assert last < 0.7 * first
    np.testing.assert_allclose(other.evals["bits_per_byte"], one.evals["bits_per_byte"], rtol=1e-3)
    again = distopt.run(["launcher=replay", f"launcher.trace={one.folder}", *overrides])
    assert center(again) == center(one)
    assert one.info["contents"].keys() == {"dataset.file"}


def test_documents_to_validate_on(tmp_path: Path) -> None:
    file = written(tmp_path, "parquet", TEXTS)
    other = saved(tmp_path / "o", pa.table({"text": ["a longer one", "b"]}), 1)
    found = load("parquet", file=file, validation_file=file, **SETTINGS)
    assert found.size == len(found.validation[0]) == len(found.validation[1])
    with pytest.raises(DataError, match=r"dataset.validation_file=\S+: cannot be read as parquet \(it is a folder"):
        load("parquet", file=file, validation_file=other, **SETTINGS)


@pytest.mark.parametrize(
    ("texts", "settings", "told"),
    [
        (["a\0b", "c"], {}, r"cannot be read as parquet \(row 0 of column text holds a byte 0, which separates docu"),
        (TEXTS, {"text": "txt"}, r"dataset.text=txt: no such column in \S+, it has text$"),
        ([1, 2, 3], {}, r"dataset.text=text: is int64 in \S+; choose a text"),
        ([[1], [2], [3]], {}, r"dataset.text=text: is list"),
        (["", None], {}, "has 0 bytes, too few for a block of 4 tokens to train on and one to validate on"),
        (TEXTS, {"context": 1}, r"dataset.context=1: must be at least 2 with dataset.text=text"),
        (TEXTS, {"features": ["a"]}, r"dataset.text=text: documents have no features; leave out dataset.features"),
        (TEXTS, {"key": "a"}, r"dataset.text=text: documents have no key; leave out dataset.key"),
        (TEXTS, {"kind": "numbers"}, r"dataset.text=text: the next byte is predicted; leave out dataset.kind"),
        (TEXTS, {"partition": "label"}, r"partition=label: documents have no labels; choose iid, contiguous or shared"),
    ],
)
def test_documents_that_are_refused(
    tmp_path: Path, cache: Path, texts: list[Any], settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(DataError, match=told) as error:
        load("parquet", file=written(tmp_path, "parquet", texts), **SETTINGS | settings)
    assert len(str(error.value).splitlines()) == 1
    assert not [path for path in cache.glob("*") if path.suffix != ".bin"]


def test_a_cache_without_room(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, "parquet", TEXTS)
    usage = type("Usage", (), {"free": 30})
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: usage)
        with pytest.raises(
            DataError, match=r"documents need more than the \d+ bytes that are free in .*XDG_CACHE_HOME"
        ):
            load("parquet", file=file, **SETTINGS)
    assert list(cache.iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"dataset.text=text: \S+: Not a directory; make room or choose another place"):
        load("parquet", file=file, **SETTINGS)


def test_a_kilobyte_of_parquet_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    texts = pa.DictionaryArray.from_arrays(np.zeros(3000, "i4"), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"text": texts}), tmp_path / "t.parquet")
    file = str(tmp_path / "t.parquet")
    assert os.path.getsize(file) < 100_000
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**7}))
    with pytest.raises(DataError, match=r"more than the 10.0 MB that are free"):
        load("parquet", file=file, **SETTINGS)


def test_a_table_in_a_saved_folder_is_that_of_the_same_parquet(tmp_path: Path) -> None:
    frame = table()
    folder = saved(tmp_path / "t", pa.Table.from_pandas(frame, preserve_index=False), 3)
    found = load("arrow", file=folder, validation_fraction=0.25)
    expected = load("parquet", file=save(frame, tmp_path / "t.parquet"), validation_fraction=0.25)
    for one, other in zip((*found.train, *found.validation), (*expected.train, *expected.validation), strict=True):
        np.testing.assert_array_equal(one, other)
    single = load("arrow", file=f"{folder}/data-00000-of-00003.arrow", validation_file=folder)
    assert (single.size, len(single.validation[1])) == (14, 40)


def arrow_folder(folder: Path, **state: Any) -> Path:
    return Path(saved(folder / "t", pa.Table.from_pandas(table(), preserve_index=False), **state))


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"_data_files": [{"filename": "../secret.arrow"}]}, "state.json lists no files of data in the folder"),
        ({"_data_files": []}, "state.json lists no files of data in the folder"),
        ({"_data_files": "x"}, "state.json lists no files of data in the folder"),
        ({"_data_files": [{"filename": "other.arrow"}]}, "state.json lists other.arrow, which is not there"),
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "picked by a file of indices; call flatten_indices"),
    ],
)
def test_folders_that_name_other_files(tmp_path: Path, state: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        load("arrow", file=str(arrow_folder(tmp_path, **state)))


def test_folders_that_are_damaged(tmp_path: Path) -> None:
    folder = arrow_folder(tmp_path)
    last = folder / "data-00001-of-00002.arrow"
    content = last.read_bytes()
    last.write_bytes(content[:-100])
    with pytest.raises(DataError, match=r"data-00001-of-00002.arrow is no stream of Arrow that was written to its end"):
        load("arrow", file=str(folder))
    with pa.ipc.new_stream(last, pa.schema([("width", pa.string())])):
        pass
    with pytest.raises(DataError, match=r"data-00001-of-00002.arrow has other columns than data-00000-of-00002.arrow"):
        load("arrow", file=str(folder))
    (folder / "state.json").unlink()
    with pytest.raises(DataError, match=r"a folder without state.json; save the data with save_to_disk"):
        load("arrow", file=str(folder))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=r"it holds the parts train, test: name the folder of one, with"):
        load("arrow", file=str(tmp_path))


@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_kilobyte_of_arrow_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, codec: str, encoded: bool) -> None:
    texts = pa.array(["x" * 1_000_000] * 9)
    columns = pa.table({"text": texts.dictionary_encode() if encoded else texts})
    file = tmp_path / "t.arrow"
    with pa.ipc.new_stream(file, columns.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as stream:
        stream.write_table(columns)
    assert file.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"cannot be read as arrow \(t.arrow is compressed, which may hide any size"):
        load("arrow", file=str(file), **SETTINGS)


def test_offsets_that_lead_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    folder = Path(saved(tmp_path / "t", pa.table({"text": ["abcd" * 50] * 2}), 1))
    [file] = folder.glob("*.arrow")
    content = file.read_bytes()
    offsets = np.array([0, 200, 400], "<i4").tobytes()
    assert content.count(offsets) == 1
    file.write_bytes(content.replace(offsets, np.array([0, 200, 2**30], "<i4").tobytes()))
    with pytest.raises(DataError, match="cannot be read as arrow"):
        load("arrow", file=str(folder), **SETTINGS)


def test_a_folder_counts_by_the_files_that_make_it_up(tmp_path: Path) -> None:
    folder = arrow_folder(tmp_path)
    mark = digest.of_file(folder)
    (folder / "cache-1234.arrow").write_bytes(b"of a library")
    (folder / ".hidden").touch()
    assert digest.of_file(folder) == mark
    (folder / "data-00000-of-00002.arrow").write_bytes(b"")
    assert digest.of_file(folder) != mark


def keyed(folder: Path, name: str, kind: str, key: Any) -> datasets.Dataset:
    frame = pd.DataFrame({"a": np.arange(40.0), "who": key, "label": np.arange(40) % 2})
    file = save(frame, folder / f"t.{name}")
    return load(name, file=file, key="who", kind=kind, standardize=False, partition="label")


@pytest.mark.parametrize("name", ["csv", "parquet"])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize("key", [[7, 3, 5, 3] * 10, list("baca") * 10], ids=["numbers", "text"])
def test_shards_differ_by_a_column_that_is_no_feature(tmp_path: Path, name: str, kind: str, key: Any) -> None:
    found = keyed(tmp_path, name, kind, key)
    assert found.shape == (1,)
    assert found.keys is not None
    rows = found.train[0][:, 0].astype(int)
    np.testing.assert_array_equal(found.keys, np.unique(key, return_inverse=True)[1][rows])
    assert "who" not in found.told[0].partition("left out")[2]
    assert found.told[-1] == f"dataset.key=who: {len(set(key))} different values, by which shards may differ"


def test_a_key_may_be_a_feature_if_it_is_named(tmp_path: Path) -> None:
    frame = table()
    found = load("csv", file=save(frame, tmp_path / "t.csv"), key="count", features=["count", "width"])
    assert (found.shape, found.keys is not None) == ((2,), True)


def test_the_key_of_arrays_is_an_array(tmp_path: Path) -> None:
    arrays = {"train_x": np.zeros((6, 2)), "train_y": np.arange(6) % 2, "user": np.array(list("ccbbaa"))}
    np.savez(tmp_path / "t.npz", **arrays, short=np.arange(5), odd=np.full(6, 0.5), complex=np.zeros(6, complex))
    settings = {"file": str(tmp_path / "t.npz"), "validation_x": "train_x", "validation_y": "train_y"}
    keys = load("npz", key="user", **settings).keys
    assert keys is not None
    assert keys.tolist() == [2, 2, 1, 1, 0, 0]
    for name, told in {
        "nobody": "dataset.key=nobody: no such array in",
        "short": r"dataset.key=short: has the shape \(5,\), for 6 samples in",
        "odd": "dataset.key=odd: a value is missing or no whole number",
        "complex": "dataset.key=complex: is complex128 in .*; choose whole numbers or text",
    }.items():
        with pytest.raises(DataError, match=told):
            load("npz", key=name, **settings)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ([1.5] * 40, "dataset.key=who: a value is missing or no whole number in"),
        ([None, "x"] * 20, "dataset.key=who: missing in 20 rows of"),
    ],
)
def test_columns_that_are_no_key(tmp_path: Path, key: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        keyed(tmp_path, "parquet", "classes", key)
    with pytest.raises(DataError, match=r"dataset.key=nobody: no such column in"):
        load("csv", file=save(table(), tmp_path / "t.csv"), key="nobody")
