"""Data files: damaged ones are refused, and what is read is a data set."""

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distopt import datasets
from distopt.datasets import austen, cifar10, columns
from tests.datasets import test_austen
from tests.datasets.test_idx import contents
from tests.datasets.test_tokens import llm_c
from tests.fuzz.damage import damaged, read_or_refuse

FRAME = pd.DataFrame({"a": np.arange(12.0), "b": np.arange(12) % 5, "text": "x", "label": ["owl", "cat"] * 6})
ARRAYS = {"train_x": np.arange(24, dtype=np.float32).reshape(12, 2), "train_y": np.arange(12) % 2}
IMAGES = {name: gzip.compress(content, mtime=0) for name, content in contents().items()}


def written(save: Any, *arguments: Any, **more: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arguments, **more)
    return buffer.getvalue()


def parquet(columns: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(columns, buffer)
    return buffer.getvalue()


GOOD = {
    "csv": FRAME.to_csv(index=False).encode(),
    "parquet": written(FRAME.to_parquet),
    "npz": written(np.savez_compressed, **ARRAYS),
}


def load(name: str, **settings: Any) -> None:
    """Load, and check what was loaded: a data set that a run could use."""
    loaded = read_or_refuse(lambda: datasets.load({"name": name, **settings}))
    if loaded is None:
        return
    if loaded.kind == "tokens":
        for blocks, *weights in (loaded.train, loaded.validation):
            assert len(blocks) > 0
            assert blocks.shape[1:] == (loaded.shape[0] + 1,)
            assert 0 <= blocks[:].min() <= blocks[:].max() < loaded.classes
            assert all(each[:].sum(axis=1).all() for each in weights)
        return
    for x, y in ((loaded.train[0], loaded.train[1]), (loaded.validation[0], loaded.validation[1])):
        assert (x.dtype, y.dtype) == (np.float32, np.int32)
        assert len(x) == len(y) > 0
        assert x.shape[1:] == loaded.shape
        assert np.isfinite(x).all()
        assert 0 <= y.min() <= y.max() < loaded.classes


@pytest.mark.parametrize("name", sorted(GOOD))
@given(data=st.data())
def test_damaged_files_of_ones_own(tmp_path: Path, name: str, data: st.DataObject) -> None:
    file = tmp_path / f"data.{name}"
    file.write_bytes(data.draw(damaged(GOOD[name]) | st.binary(max_size=300)))
    load(name, file=str(file))


SPARSE = b"1 1:0.5 3:1e2 # a\n-1 2:1 qid:3\n" * 6
RATINGS = FRAME.rename(columns={"a": "user", "b": "item"}).assign(rating=np.arange(12.0)).to_csv(index=False).encode()


@given(data=st.data(), kind=st.sampled_from(["classes", "numbers", "labels"]))
def test_damaged_sparse_features(tmp_path: Path, data: st.DataObject, kind: str) -> None:
    (tmp_path / "t.svm").write_bytes(data.draw(damaged(SPARSE) | st.binary(max_size=300)))
    settings = {"name": "svmlight", "file": str(tmp_path / "t.svm"), "kind": kind}
    if (loaded := read_or_refuse(lambda: datasets.load(settings))) is None:
        return
    for ((index, value), y), (size,) in ((part, loaded.shape) for part in (loaded.train, loaded.validation)):
        assert (index.dtype, value.dtype) == (np.int32, np.float32)
        assert index.shape == value.shape
        assert len(index) == len(y) > 0
        assert index.min() >= 0
        assert index.max() <= size
        assert np.isfinite(value).all()
        assert np.isfinite(y).all()


@given(data=st.data())
def test_damaged_ratings(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "t.csv").write_bytes(data.draw(damaged(RATINGS) | st.binary(max_size=300)))
    settings = {"name": "ratings", "file": str(tmp_path / "t.csv"), "sep": ","}
    if (loaded := read_or_refuse(lambda: datasets.load(settings))) is None:
        return
    for user, item, rating in (loaded.train, loaded.validation):
        assert len(user) == len(item) == len(rating) > 0
        assert 0 <= user.min() <= user.max() < loaded.shape[0]
        assert 0 <= item.min() <= item.max() < loaded.shape[1]
        assert np.isfinite(rating).all()


PAIRS = b"user,item\n" + b"".join(b"%d,%d\n" % (user, item) for user in range(4) for item in range(8) if item != user)


@given(data=st.data())
def test_damaged_pairs_to_rank(tmp_path: Path, data: st.DataObject) -> None:
    (tmp_path / "t.csv").write_bytes(data.draw(damaged(PAIRS) | st.binary(max_size=300)))
    settings = {"name": "ratings", "file": str(tmp_path / "t.csv"), "sep": ",", "kind": "ranking"}
    if (loaded := read_or_refuse(lambda: datasets.load(settings))) is None:
        return
    users, items = loaded.shape
    for user, *lists in (loaded.train, loaded.validation):
        assert len(user) == len(set(user.tolist())) > 0
        assert 0 <= user.min() <= user.max() < users
        assert (lists[0] < items).any(axis=1).all()
        both = np.concatenate(lists, axis=1)
        assert both.min() >= 0
        assert both.max() <= items
        assert (np.array([len(set(row[row < items].tolist())) for row in both]) == (both < items).sum(axis=1)).all()
        assert ((both < items).sum(axis=1) < items).all()


TEXTS = {"context": 4, "validation_fraction": 0.3}
DOCUMENTS = pa.table({"text": ["the owl", "and the pussycat", None, "went to sea"] * 3, "label": [0, 1, 1, 0] * 3})


def stream(columns: pa.Table) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, columns.schema) as out:
        out.write_table(columns, max_chunksize=5)
    return buffer.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


ARROW = [stream(DOCUMENTS), stream(pa.Table.from_pandas(FRAME))]
ARROW.append(stream(DOCUMENTS.set_column(0, "text", DOCUMENTS["text"].dictionary_encode())))


@pytest.mark.parametrize("text", [None, "text"])
@given(data=st.data())
def test_damaged_streams_of_arrow(tmp_path: Path, cache: None, text: str | None, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(ARROW))
    bad = data.draw(damaged(good[: -len(columns.END)]))
    (tmp_path / "t.arrow").write_bytes(bad + columns.END if data.draw(st.booleans()) else bad)
    load("arrow", file=str(tmp_path / "t.arrow"), text=text, **TEXTS)


@given(content=damaged(parquet(DOCUMENTS)))
def test_damaged_parquet_of_documents(tmp_path: Path, cache: None, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    load("parquet", file=str(tmp_path / "t.parquet"), text="text", **TEXTS)


@given(content=damaged(llm_c(range(90))) | damaged(llm_c(range(90), 20240801, 7, dtype="<u4")) | st.binary(max_size=80))
def test_damaged_tokens(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.bin").write_bytes(content)
    for dtype in ("uint8", "uint16", "uint32"):
        load("tokens", file=str(tmp_path / "t.bin"), dtype=dtype, **TEXTS)


@given(data=st.data())
def test_damaged_novels(tmp_path: Path, data: st.DataObject) -> None:
    test_austen.written(tmp_path, [*map(test_austen.record, test_austen.NOVELS)])
    path = tmp_path / data.draw(st.sampled_from([austen.INDEX, austen.RECORDS]))
    content = path.read_bytes()
    if path.name == austen.INDEX and data.draw(st.booleans()):
        path.write_bytes(gzip.compress(data.draw(damaged(gzip.decompress(content)))))
    else:
        path.write_bytes(data.draw(damaged(content)))
    load("austen", root=str(tmp_path), **TEXTS)


@given(text=st.text(alphabet='01-.,eEnaif"\n\r x;\0é', max_size=120))
def test_text_that_may_be_a_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text("a,label\n" + text, encoding="utf-8", newline="")
    load("csv", file=str(tmp_path / "t.csv"))


@given(data=st.data(), name=st.sampled_from(sorted(IMAGES)))
def test_damaged_images(tmp_path: Path, name: str, data: st.DataObject) -> None:
    for other, packed in IMAGES.items():
        (tmp_path / f"{other}.gz").write_bytes(packed)
    raw = data.draw(damaged(gzip.decompress(IMAGES[name])[:2000]) | damaged(IMAGES[name]))
    (tmp_path / f"{name}.gz").write_bytes(raw if data.draw(st.booleans()) else gzip.compress(raw))
    load("mnist", root=str(tmp_path))


def archive(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 40
            tar.addfile(member, io.BytesIO(bytes(40)))
    return buffer.getvalue()


@given(data=st.data(), names=st.lists(st.sampled_from([*cifar10.FILES, "../../evil", "/etc/evil", "a/" * 60 + "b"])))
def test_damaged_archives_leave_nothing_behind(tmp_path: Path, names: list[str], data: st.DataObject) -> None:
    raw = data.draw(damaged(archive(names)))
    (tmp_path / cifar10.ARCHIVE).write_bytes(gzip.compress(raw) if data.draw(st.booleans()) else raw)
    load("cifar10", root=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [cifar10.ARCHIVE]
