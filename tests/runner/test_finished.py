"""What earlier runs left is found fast, and nothing half-written is taken for an answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from distopt.runner.finished import History, expect


def leave(output: Path, name: str, **info: Any) -> Path:
    """A run's folder with what the history reads of it."""
    folder = output / name
    folder.mkdir(parents=True)
    told = {"status": "done", "fingerprint": "f", "code": "c", "workload": "w", "total_s": 8.0} | info
    (folder / "run.json").write_text(json.dumps(told))
    (folder / "summary.json").write_text("{}")
    return folder


@pytest.mark.parametrize("status", ["done", "stopped", "diverged"])
def test_a_run_that_came_to_an_end_of_its_own_is_an_answer(tmp_path: Path, status: str) -> None:
    folder = leave(tmp_path, "a", status=status)
    found = History([tmp_path]).answer("f", "c")
    assert found is not None
    assert (found.folder, found.status, found.code) == (folder, status, "c")


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_run_that_did_not_is_none(tmp_path: Path, status: str) -> None:
    leave(tmp_path, "a", status=status)
    assert History([tmp_path]).answer("f", "c") is None


def test_other_code_is_told_apart(tmp_path: Path) -> None:
    leave(tmp_path, "a", code="old")
    found = History([tmp_path]).answer("f", "c")
    assert found is not None
    assert found.code == "old"
    leave(tmp_path, "b", code="c")
    found = History([tmp_path]).answer("f", "c")
    assert found is not None
    assert found.folder.name == "b"
    assert History([tmp_path]).answer("g", "c") is None


def test_what_cannot_be_read_is_named_and_the_rest_is_found(tmp_path: Path) -> None:
    for name, content in (("cut", '{"status": "do'), ("list", "[1]"), ("binary", "\x00")):
        leave(tmp_path, name)
        (tmp_path / name / "run.json").write_text(content)
    (leave(tmp_path, "no summary", fingerprint="g") / "summary.json").unlink()
    (tmp_path / "no run").mkdir()
    leave(tmp_path, "whole")
    history = History([tmp_path, tmp_path / "nowhere"])
    assert history.answer("f", "c") is not None
    assert history.answer("g", "c") is None
    assert [problem.partition("/run.json")[0] for problem in history.problems] == [
        str(tmp_path / name) for name in ("binary", "cut", "list")
    ]


def test_the_expected_time_is_that_of_runs_alike(tmp_path: Path) -> None:
    for i, seconds in enumerate((1.0, 2.0, 30.0)):
        leave(tmp_path, f"{i}", total_s=seconds)
    leave(tmp_path, "diverged", status="diverged", total_s=0.1)
    history = History([tmp_path])
    assert expect(["w", "w"], history) == (4.0, 3)
    assert expect(["w", "x"], history) == (4.0, 3)
    assert expect(["x"], history) == (None, 0)
    assert expect(["x", "x"], history, [5.0, 7.0]) == (12.0, 0)
    assert expect([], history) == (0.0, 0)
