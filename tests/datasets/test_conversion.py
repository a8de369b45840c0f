"""Tables that do not fit into memory: converted once, and the same as in memory."""

import gzip
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distopt
from distopt import datasets
from distopt.datasets import conversion, frames
from distopt.datasets.mapped import Lazy, Mapped, extent, moments
from distopt.errors import DataError
from distopt.files import memory
from tests.datasets.test_own import load

PIECE = 13  # rows
ROWS = 70


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "distopt" / "tables"


def table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(rows) + 1,
            "wide": rng.normal(1e6, 0.1, rows),
            "count": rng.integers(-9, 9, rows),
            "flat": 2.5,
            "flag": rng.random(rows) < 0.5,
            "note": "x",
            "who": np.array(["ann", "Bo", "2"])[np.arange(rows) % 3],
            "price": rng.normal(100, 20, rows),
            "many": np.array([3, 2**63 + 5, 2**63 + 6], np.uint64)[np.arange(rows) * 3 // rows],
            "label": rng.choice(["7", "owl", "a tawny owl"], rows),
        }
    )


def save(frame: pd.DataFrame, path: Path) -> str:
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, row_group_size=30)
    return str(path)


def converted(monkeypatch: pytest.MonkeyPatch, name: str, columns: int = 10, **settings: Any) -> datasets.Dataset:
    """The data set as if there were no memory for it, in pieces of few rows."""
    with monkeypatch.context() as patched:
        patched.setattr(conversion, "SHARE", 0)
        patched.setattr(frames, "PIECE", frames.ROOM * columns * PIECE)
        return load(name, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"features": ["count", "flag", "wide"], "key": "who"},
        {"index_col": "id", "standardize": False, "key": "many"},
        {"index_col": False, "label": "many"},
        {"kind": "numbers", "label": "price", "validation_file": True},
        {"kind": "labels", "label": ["flag", "flag2"], "features": ["wide", "count"]},
    ],
    ids=lambda settings: ",".join(settings) or "plain",
)
@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_it_is_the_same_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    frame = table().assign(flag2=lambda frame: frame["count"] > 0)
    settings = {**settings, "file": save(frame, tmp_path / f"t.{name}")}
    if settings.get("validation_file"):
        settings["validation_file"] = save(frame.assign(wide=frame["wide"] + 1).head(31), tmp_path / f"v.{name}")
    here, there = load(name, **settings), converted(monkeypatch, name, 11, **settings)
    assert isinstance(here.train[0], np.ndarray)
    assert isinstance(there.train[0], Lazy)
    assert (there.told, there.warnings) == (here.told, here.warnings)
    assert (there.shape, there.classes, there.kind) == (here.shape, here.classes, here.kind)
    assert (here.keys is None) == (there.keys is None)
    assert here.keys is None or np.array_equal(there.keys, here.keys)
    for one, other in zip((*there.train, *there.validation), (*here.train, *here.validation), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert np.array_equal(one[:], other)
    rows = np.array([[3, 1], [0, 3]])
    assert np.array_equal(pickle.loads(pickle.dumps(there.train[0]))[rows], here.train[0][rows])


def test_it_is_converted_once_and_anew_when_something_changes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(table(), tmp_path / "t.csv")

    def made(**settings: Any) -> int:
        converted(monkeypatch, "csv", file=file, **settings)
        return len(list(cache.iterdir()))

    assert made() == 1
    marks = {each: each.stat().st_mtime_ns for each in next(cache.iterdir()).iterdir()}
    assert made(standardize=False, validation_fraction=0.3, partition="label") == 1
    assert marks == {each: each.stat().st_mtime_ns for each in next(cache.iterdir()).iterdir()}
    assert made(features=["wide"]) == 2
    assert made(key="who") == 3
    assert made(label="who") == 4
    assert made(na_values=["-"]) == 5
    save(table(seed=1), tmp_path / "t.csv")
    assert made() == 6
    for each in cache.glob("*/y.npz"):
        each.write_bytes(each.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"t\.csv: .*distopt/tables/\w+ is damaged .*; delete it"):
        made()


def test_several_processes_may_convert_it_at_once(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, write = save(table(), tmp_path / "t.csv"), conversion._write
    monkeypatch.setattr(conversion, "SHARE", 0)
    both = Barrier(2, timeout=60)

    def together(*arguments: Any) -> None:
        both.wait()
        write(*arguments)

    monkeypatch.setattr(conversion, "_write", together)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: load("csv", file=file), range(2))
    assert np.array_equal(one.train[0][:], other.train[0][:])
    assert len(list(cache.iterdir())) == 1


def test_a_run_trains_on_it_as_in_memory(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(table(200).assign(label=lambda frame: frame["price"] > 100), tmp_path / "t.parquet")
    overrides = ["launcher=sim", "model=logistic", "dataset=parquet", f"dataset.file={file}", "workers=2", "epochs=9"]
    overrides += ["dataset.index_col=id", "dataset.resident=false", "evaluate.points=2", f"output={tmp_path}"]
    here = distopt.run([*overrides, "name=here"])
    assert not cache.exists()
    monkeypatch.setattr(conversion, "SHARE", 0)
    there = distopt.run([*overrides, "name=there"])
    assert here.evals["loss"].iloc[-1] < 0.9 * here.evals["loss"].iloc[0]
    np.testing.assert_allclose(there.evals["loss"], here.evals["loss"], rtol=1e-5)
    assert there.info["data"] == here.info["data"]
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("wide", "oops", "column wide has 'oops', after numbers in the first rows, in sample 57 (counted"),
        ("wide", "", "column wide is missing or not finite in sample 57 (counted from 0); remove or fill it"),
        ("count", "1e39", "column count is missing or not finite in sample 57"),
        ("flag", "maybe", "column flag has 'maybe', after truth values in the first rows, in sample 57"),
        ("label", "", "column label is missing or not finite in sample 57 (counted from 0); remove or fill it; if NA"),
        ("who", "NA", "column who is missing or not finite in sample 57"),
        ("note", '"', "cannot be read as csv (Error tokenizing data. C error: EOF inside string starting at row 58)"),
        ("note", "x,x", "cannot be read as csv (Error tokenizing data. C error: Expected 10 fields in line 59, saw 11"),
    ],
)
def test_a_bad_late_row_of_csv(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, column: str, value: str, message: str
) -> None:
    lines = table().astype(str).to_csv(index=False).splitlines()
    cells = lines[58].split(",")
    cells[lines[0].split(",").index(column)] = value
    lines[58] = ",".join(cells)
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError) as raised:
        converted(monkeypatch, "csv", file=str(tmp_path / "t.csv"), key="who")
    assert f"{tmp_path / 't.csv'}: {message}" in str(raised.value)
    assert not list(cache.glob("*"))


def test_bad_late_rows_of_parquet(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table()
    frame.loc[64, "wide"] = np.nan
    file = save(frame, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"column wide is missing or not finite in sample 64 \(counted from 0\)"):
        converted(monkeypatch, "parquet", file=file)
    save(table(), tmp_path / "t.parquet")
    whole = bytearray((tmp_path / "t.parquet").read_bytes())
    place = pq.read_metadata(file).row_group(2).column(1).data_page_offset
    whole[place : place + 40] = bytes(40)
    (tmp_path / "t.parquet").write_bytes(whole)
    with pytest.raises(DataError, match=r"t\.parquet: cannot be read as parquet"):
        converted(monkeypatch, "parquet", file=file)
    assert not list(cache.glob("*"))


def test_the_head_is_refused_as_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(table(), tmp_path / "t.csv")
    (tmp_path / "empty.csv").write_text("a,label\n")
    for settings in (
        {"file": file, "label": "nothing"},
        {"file": file, "key": "nothing"},
        {"file": file, "features": ["note"]},
        {"file": file, "sep": ";"},
        {"file": str(tmp_path / "none.csv")},
        {"file": str(tmp_path / "empty.csv")},
    ):
        said = []
        for attempt in (lambda: load("csv", **settings), lambda: converted(monkeypatch, "csv", **settings)):  # noqa: B023
            with pytest.raises(DataError) as raised:
                attempt()
            said.append(str(raised.value))
        assert said[0] == said[1]


def test_what_would_fill_the_memory_is_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = table(2000).to_csv(index=False).encode()
    (tmp_path / "t.csv").write_bytes(text)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text))
    save(table(2000), tmp_path / "t.parquet")
    for name, file, needed in (("csv", "t.csv", 18), ("csv", "t.csv.gz", 18), ("parquet", "t.parquet", 0)):
        room = len(text) * needed or 2000 * 10 * 32
        for free, large in ((2 * room + 2, False), (2 * room - 2, True)):
            monkeypatch.setattr(memory, "free", lambda free=free: free)
            monkeypatch.setattr(frames, "PIECE", room // 8)
            found = load(name, file=str(tmp_path / file))
            assert isinstance(found.train[0], Lazy) == large
            assert found.size == 1600


def test_a_row_that_does_not_fit_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "t.csv.gz"
    file.write_bytes(gzip.compress(b"a,label\n1,x\n2," + b"y" * 30_000_000))
    monkeypatch.setattr(memory, "free", lambda: 200_000_000)
    with pytest.raises(DataError, match=r"cannot be read as csv \(t.csv.gz needs .* of memory, 200.0 MB are free"):
        converted(monkeypatch, "csv", file=str(file))
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(conversion.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match=r"tables: the table needs more than the 1000 bytes .* there; .*XDG_CACHE_HOME"):
        converted(monkeypatch, "csv", file=save(table(), tmp_path / "t.csv"))


def test_dictionaries_and_decimals_of_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pa.array([f"class {i * i % 7}" for i in range(ROWS)]).dictionary_encode()
    decimals = pa.array([i / 4 for i in range(ROWS)]).cast(pa.decimal128(9, 2))
    pq.write_table(pa.table({"x": decimals, "label": texts}), tmp_path / "t.parquet", row_group_size=9)
    settings = {"file": str(tmp_path / "t.parquet")}
    here, there = load("parquet", **settings), converted(monkeypatch, "parquet", 2, **settings)
    assert there.told == here.told
    for one, other in zip(there.train, here.train, strict=True):
        np.testing.assert_allclose(one[:], other, rtol=0, atol=1e-6)


def test_statistics_have_the_bits_of_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around = np.array([0, 2.0**27, -5])
    x = np.random.default_rng(0).normal(around, [1e-3, 1, 7], (1000, 3))
    (tmp_path / "x.bin").write_bytes(x.tobytes())
    monkeypatch.setattr("distopt.datasets.mapped.STEP", 24 * 64)
    there = Mapped(tmp_path / "x.bin", float, 0, x.shape)
    mean, deviation = moments(there)
    assert np.array_equal([mean, deviation], moments(x))
    assert np.array_equal(extent(there), [x.min(axis=0), x.max(axis=0)])
    near = x - around  # exactly
    np.testing.assert_allclose(mean, near.mean(axis=0) + around, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(deviation, near.std(axis=0), rtol=1e-7)
