"""A run that was killed goes on in its folder, and ends as if nothing had happened."""

import gc
import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import distopt
from distopt.config import combine, recorded
from distopt.errors import ConfigError, ResultsError
from distopt.files.lock import Lock
from distopt.runner.sweep import Sweep
from distopt.runs import checkpoints, results
from distopt.runs.results import Run
from scripts.tools.processes import Launched
from tests.marks import quick

BOOTH = ["launcher=sim", "model=booth", "dataset=none", "local=sgd", "local.learning_rate=0.001", "optimizer=adag"]
SMALL = [*BOOTH, "workers=2", "stop.updates=60", "evaluate.every=20", "checkpoint.every=20"]
LONG = [*BOOTH, "workers=8", "model.noise=1", "stop.updates=30000", "evaluate.every=1000", "checkpoint.every=1000"]


MOMENTS = range(2, 29, 4)  # of about thirty


def run(output: Path, *overrides: str) -> Run:
    return distopt.run([*SMALL, f"output={output}", *overrides])


def cut(finished: Run, rows: int = 45, keep: int = 2) -> Path:
    """Leave what a kill would have left after some rows, with the checkpoints of the first so many taken."""
    folder = finished.folder
    for name in ("model.npz", "summary.json"):
        (folder / name).unlink()
    table = finished.commits[:rows]
    table.to_parquet(folder / "commits.parquet")
    (folder / "run.json").write_text(json.dumps(finished.info | {"status": "running"}))
    checkpoints.forget(folder, after=20 * keep)
    return folder


def last_checkpoint(folder: Path) -> int:
    return max((int(path.stem) for path in folder.glob("checkpoints/*.json")), default=0)


def assert_equal(one: Run, other: Run) -> None:
    """Check that nothing but times and names of the two runs differs."""
    assert repr(one.commits.to_dict("records")) == repr(other.commits.to_dict("records"))
    assert repr(one.evals.to_dict("records")) == repr(other.evals.to_dict("records"))
    assert one.summary == other.summary
    assert (one.folder / "model.npz").read_bytes() == (other.folder / "model.npz").read_bytes()
    kept = ("status", "reason", "seed", "fingerprint", "code", "virtual_s")
    assert [one.info[key] for key in kept] == [other.info[key] for key in kept]


@pytest.mark.slow
def test_a_run_killed_three_times_is_the_run_that_was_not(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "killed"
    words, reached = [*LONG, "name=killed"], 0
    for _ in range(3):
        with Launched("run", *words, cwd=tmp_path) as command:
            command.wait_for(lambda: last_checkpoint(folder) > reached)  # noqa: B023 - called at once
            os.killpg(command.process.pid, signal.SIGKILL)
            assert command.end() == -signal.SIGKILL
        left = results.load(folder)
        assert (left.status, left.info["reason"]) == ("interrupted", "its process is gone")
        reached = last_checkpoint(folder)
        assert left.commits["update"].max() >= reached
        words = [f"resume={folder}"]
    resumed = distopt.run(words)
    assert_equal(resumed, distopt.run([*LONG, f"output={tmp_path}"]))
    entries = resumed.info["resumed"]
    assert len(entries) == 3
    assert 0 < entries[0]["update"] < entries[1]["update"] < entries[2]["update"] == reached
    assert resumed.info["total_s"] > 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("whole"))


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(tmp_path: Path, whole: Run) -> None:
    folder = cut(run(tmp_path))
    (folder / "checkpoints" / "40.npz").write_bytes(b"PK")
    resumed = distopt.run([f"resume={folder}"])
    assert_equal(resumed, whole)
    (entry,) = resumed.info["resumed"]
    assert (entry["update"], entry["lost_updates"], entry["lost_commits"]) == (20, 25, 25)
    assert any("40.json: is damaged" in warning for warning in resumed.info["warnings"])
    assert len(results.load(folder).commits) == 60
    assert [path.name for path in sorted((folder / "undone").iterdir())] == ["1-commits.parquet", "1-evals.parquet"]


def test_without_a_checkpoint_a_run_starts_anew(tmp_path: Path, whole: Run) -> None:
    folder = cut(run(tmp_path), rows=15, keep=0)
    resumed = distopt.run([f"resume={folder}"])
    assert_equal(resumed, whole)
    assert resumed.info["resumed"][0]["update"] == 0


class Killed(BaseException):
    """The end of a process, at one of the moments at which something reaches the disk."""


def killed_at(moment: int, words: list[str], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run until something is written, replaced, renamed or removed for the given time; return whether it came to it."""
    left = [moment]

    def guarded(act: Any) -> Any:
        def acting(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return act(*arguments, **options)

        return acting

    with monkeypatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "rename"), (Path, "unlink"), (os, "fsync")):
            patch.setattr(owner, name, guarded(getattr(owner, name)))
        with suppress(Killed):
            distopt.run(words)
    gc.collect()  # a process that ends lets go of its files
    return left[0] < 0


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("first", quick(MOMENTS, [6, 18]))
def test_killed_at_any_moment_a_run_can_be_read_and_goes_on(
    tmp_path: Path, whole: Run, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """It is killed while it runs, and once more while it is taken up again."""
    killed_at(first, [*SMALL, f"output={tmp_path}", "name=run"], monkeypatch)
    folder = tmp_path / "run"
    if not folder.exists():
        return
    results.load(folder)
    if killed_at(first % 17, [f"resume={folder}"], monkeypatch):
        results.load(folder)
        distopt.run([f"resume={folder}"])
    assert_equal(results.load(folder), whole)


def test_what_would_be_another_run_is_refused(tmp_path: Path) -> None:
    folder = cut(run(tmp_path))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError) as caught:
        recorded([f"resume={folder}", "workers=3", "optimizer=agn", "stop.updates=9", "checkpoint.every=5", "seed=0"])
    assert [problem.partition("=")[0] for problem in caught.value.problems] == ["workers", "optimizer", "stop.updates"]
    assert "workers=3: the run to resume has 2; leave workers out" in caught.value.problems
    with pytest.raises(ConfigError, match="leave -m out"):
        combine([f"resume={folder}"])
    with pytest.raises(ConfigError, match="no run there"):
        distopt.run([f"resume={tmp_path}"])
    info = json.loads((folder / "run.json").read_text())
    for key, value, words in (("code", "other", "other code"), ("fingerprint", "other", "other settings")):
        (folder / "run.json").write_text(json.dumps(info | {key: value}))
        with pytest.raises(ResultsError, match=words):
            distopt.run([f"resume={folder}"])
    (folder / "run.json").write_text(json.dumps(info))
    lock = Lock(folder)
    with pytest.raises(ResultsError, match="still going on"):
        distopt.run([f"resume={folder}"])
    lock.release()
    assert before.keys() == {path for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_has_ended_is_not_resumed(whole: Run) -> None:
    with pytest.raises(ResultsError, match="the run is stopped"):
        distopt.run([f"resume={whole.folder}"])


def test_a_sweep_goes_on_with_what_was_cut_off(tmp_path: Path, whole: Run) -> None:
    folder = cut(run(tmp_path))
    found: list[Any] = []
    sweep = Sweep(ended=lambda end, run: found.append(run))
    configs = [(f"seed={c.config.seed}", c.config) for c in combine([*SMALL, f"output={tmp_path}", "seed=0,1"])]
    ends = sweep.run(configs)
    assert [end.status for end in ends] == ["stopped", "stopped"]
    assert ends[0].folder == folder
    assert_equal(results.load(folder), whole)
    assert found[0].info["resumed"][0]["update"] == 40
    assert len(list(tmp_path.glob("*/run.json"))) == 2
