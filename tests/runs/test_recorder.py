"""The run's folder: readable at any moment, complete at the end, never written over."""

import json
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from distopt.errors import ResultsError
from distopt.files.atomic import write_atomically
from distopt.records import COLUMNS, News, Outcome
from distopt.runs import growing_table, results
from distopt.runs.recorder import Recorder, make_folder
from scripts.tools import folders

SECONDS = {"startup": 1.0, "compile": 2.0, "train": 3.0, "evaluate": 4.0}
ENDED = Outcome("failed", None, None, {})
NAMELESS = {"fingerprint": "abcdef0123"}


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as a launcher hands them over, in another order of columns."""
    return [{str(key): row[key] for key in reversed(row)} for row in frame.to_dict("records")]


@pytest.fixture
def commits() -> pd.DataFrame:
    return folders.commits(updates=50).assign(sequence=1, scale_mean=0.5)


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    monkeypatch.setattr(growing_table, "FLUSH_S", 0)
    info = folders.info(status="running") | {"workers": 4, "fingerprint": "f", "code": "c", "seed": 0}
    return Recorder(make_folder(folders.config(output=str(tmp_path), name="run"), info), info)


def test_a_run_that_goes_on_can_be_read(book: Recorder, commits: pd.DataFrame) -> None:
    assert results.load(book.folder).status == "running"
    for count in (20, 30):
        book.write(News(rows(commits[count - 20 : count]), rows(folders.evals(points=2))))
        assert len(results.load(book.folder).commits) > 0
    assert not (book.folder / "commits.parquet").exists()
    assert results.load(book.folder).status == "running"
    book.finish(ENDED, SECONDS)


def test_a_cut_stream_is_read_up_to_its_last_complete_batch(book: Recorder, commits: pd.DataFrame) -> None:
    stream = book.folder / "commits.arrow"
    ends = []
    for first in range(0, 50, 10):
        book.write(News(rows(commits[first : first + 10]), []))
        ends.append(stream.stat().st_size)
    content = stream.read_bytes()
    for length in (*range(0, len(content), 97), *ends):
        stream.write_bytes(content[:length])
        found = results.load(book.folder).commits
        complete = 10 * sum(end <= length for end in ends)
        assert len(found) == complete
        assert found["worker"].tolist() == commits["worker"][:complete].tolist()
    book.finish(ENDED, SECONDS)


def test_the_finished_tables_hold_every_row_in_order(book: Recorder, commits: pd.DataFrame) -> None:
    evals = folders.evals(points=3)
    for first in range(0, 50, 7):
        book.write(News(rows(commits[first : first + 7]), []))
    book.write(News([], rows(evals)))
    book.finish(ENDED, SECONDS)
    assert not list(book.folder.glob("*.arrow"))
    for name, frame in (("commits", commits), ("evals", evals)):
        table = pd.read_parquet(book.folder / f"{name}.parquet")
        assert list(table.columns[: len(COLUMNS[name])]) == list(COLUMNS[name])
        pd.testing.assert_frame_equal(table[frame.columns], frame, check_dtype=False)
    assert table["update"].dtype == np.int64
    assert table["loss"].dtype == np.float64


def test_rows_in_memory_are_not_lost_at_the_end(book: Recorder, commits: pd.DataFrame, monkeypatch: Any) -> None:
    monkeypatch.setattr(growing_table, "FLUSH_S", 1e9)
    book.write(News(rows(commits), []))
    assert not (book.folder / "commits.arrow").exists()
    book.finish(Outcome("failed", "worker 3 died", None, {}), SECONDS)
    run = results.load(book.folder)
    assert (len(run.commits), run.status, run.info["reason"]) == (50, "failed", "worker 3 died")


def test_a_run_without_a_single_commit_is_still_a_run(book: Recorder) -> None:
    book.finish(Outcome("failed", "no place", None, {}), SECONDS)
    run = results.load(book.folder)
    assert (run.status, len(run.commits), len(run.evals)) == ("failed", 0, 0)
    assert not (book.folder / "model.npz").exists()


def test_the_end_is_told(book: Recorder, commits: pd.DataFrame) -> None:
    book.write(News(rows(commits), rows(folders.evals(points=2))))
    center = {"Dense_0/kernel": np.arange(6.0).reshape(2, 3), "x": np.zeros(0, np.float32)}
    book.finish(Outcome("stopped", "stop.updates=50 reached", center, {"virtual_s": float("nan")}), SECONDS)
    info = json.loads((book.folder / "run.json").read_text(), parse_constant=pytest.fail)
    assert (info["schema"], info["status"], info["reason"]) == (1, "stopped", "stop.updates=50 reached")
    assert info["total_s"] == sum(info[f"{phase}_s"] for phase in SECONDS) == 10
    assert info["virtual_s"] is None
    json.loads((book.folder / "summary.json").read_text(), parse_constant=pytest.fail)
    with np.load(book.folder / "model.npz", allow_pickle=False) as model:
        assert set(model.files) == set(center)
        assert all(np.array_equal(model[name], center[name]) for name in center)
    assert not list(book.folder.glob(".*"))


def test_an_interrupted_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_atomically(path, b"old")
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_folders_have_unique_names_that_say_what_is_in_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda format: "20260101-000000")
    settings = folders.config(output=str(tmp_path / "new" / "results"))
    made = [make_folder(settings, {"fingerprint": "abcdef0123"}) for _ in range(3)]
    assert len(set(made)) == 3
    assert all(folder.is_dir() for folder in made)
    for word in ("adag", "mlp", "digits", "n4", "s0", "abcdef"):
        assert word in made[0].name


def test_a_name_that_exists_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    settings = folders.config(output=str(tmp_path), name="mine")
    before = (make_folder(settings, NAMELESS) / "run.json").read_bytes()
    with pytest.raises(ResultsError, match="name=mine"):
        make_folder(settings, NAMELESS)
    assert sorted(path.name for path in tmp_path.rglob("[!.]*")) == ["config.yaml", "mine", "run.json"]
    assert (tmp_path / "mine" / "run.json").read_bytes() == before


def test_an_output_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="output="):
        make_folder(folders.config(output=str(tmp_path / "file")), NAMELESS)


def test_the_stream_is_plain_arrow(book: Recorder, commits: pd.DataFrame) -> None:
    book.write(News(rows(commits), []))
    with pa.OSFile(str(book.folder / "commits.arrow"), "rb") as source:
        assert pa.ipc.open_stream(source).schema.names[:3] == ["update", "worker", "staleness"]
    book.finish(ENDED, SECONDS)


def test_a_record_that_breaks_what_elastic_averaging_conserves_fails_the_run(book: Recorder) -> None:
    frame = folders.commits(workers=4, updates=50)
    probes = {"start_probe": 0.0, "end_probe": 0.0, "center_probe": frame["update"] * 0.1, "center_sampled": 1.0}
    book.write(News(rows(frame.assign(sequence=1, **probes)), rows(folders.evals(points=2))))
    book.finish(Outcome("done", None, {"w": np.zeros(2)}, {}), SECONDS)
    found = results.load(book.folder)
    assert found.status == "failed"
    assert "elastic averaging conserves" in found.info["reason"]


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Sets a limit that no file may grow beyond, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_written_before_the_disk_was_full_stays_readable(
    book: Recorder, commits: pd.DataFrame, small_files: Callable[[int], None]
) -> None:
    stream = book.folder / "commits.arrow"
    book.write(News(rows(commits[:20]), rows(folders.evals(points=2))))
    small_files(stream.stat().st_size + 100)
    with pytest.raises(OSError, match="File too large") as caught:
        book.write(News(rows(commits[20:]), []))
    assert caught.value.filename == str(stream)
    small_files(4096)
    big = {"w": np.zeros(10_000)}
    book.finish(Outcome("failed", "the disk is full", big, {}), SECONDS)
    run = results.load(book.folder)
    assert (run.status, run.info["reason"], len(run.commits)) == ("failed", "the disk is full", 20)
    assert {path.name for path in book.folder.iterdir()} >= {"run.json", "config.yaml", "commits.arrow", "summary.json"}
    assert not [path for path in book.folder.iterdir() if path.name.startswith(".") or "partial" in path.name]


def test_a_run_whose_model_cannot_be_written_has_failed(
    book: Recorder, commits: pd.DataFrame, small_files: Callable[[int], None]
) -> None:
    book.write(News(rows(commits), rows(folders.evals(points=2))))
    small_files(30_000)
    book.finish(Outcome("done", None, {"w": np.zeros(10_000)}, {}), SECONDS)
    run = results.load(book.folder)
    assert run.status == "failed"
    assert "File too large" in run.info["reason"]
    assert len(run.commits) == 50


def test_no_folder_is_left_where_there_is_no_room_for_one(tmp_path: Path, small_files: Callable[[int], None]) -> None:
    small_files(10_000)
    with pytest.raises(ResultsError, match=r"cannot be written \(File too large\)"):
        make_folder(folders.config(output=str(tmp_path)), folders.info(fingerprint="abcdef"))
    assert list(tmp_path.iterdir()) == []
