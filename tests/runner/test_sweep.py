"""A sweep keeps what is finished, repeats what is not, and goes on after what fails."""

import io
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from distopt.config import combine, compose
from distopt.runner import run as runner
from distopt.runner.finished import claim
from distopt.runner.sweep import End, Sweep, duration
from scripts.tools.processes import Launched
from tests.marks import slow

SMALL = ["launcher=sim", "model=booth", "dataset=none", "optimizer=agn", "local=sgd", "local.learning_rate=0.01"]
SMALL += ["workers=2", "stop.updates=6", "evaluate.points=2"]


def sweep(output: Path, *overrides: str, **options: Any) -> tuple[list[End], str]:
    """The ends of a sweep whose labels are the last words of its combinations, and what was told about it."""
    told = io.StringIO()
    runs = combine([*SMALL, f"output={output}", *overrides])
    ends = Sweep(Console(file=told, width=1000), **options).run([(run.words[-1], run.config) for run in runs])
    return ends, told.getvalue()


def change(folder: Path | None, **info: Any) -> None:
    assert folder
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | info))


def test_finished_runs_are_kept_and_seeds_are_added(tmp_path: Path) -> None:
    first, told = sweep(tmp_path, "seed=0,1")
    assert [(end.label, end.status, end.before) for end in first] == [
        ("seed=0", "stopped", False),
        ("seed=1", "stopped", False),
    ]
    assert "2 runs; the first one will tell how long they take" in told
    assert "runs 1 to 2 of 2: seed=0, seed=1" in told
    again, told = sweep(tmp_path, "seed=0,1,2", "name=null")
    assert [end.before for end in again] == [True, True, False]
    assert [end.folder for end in again[:2]] == [end.folder for end in first]
    assert "3 runs, 1 of them to be made; about" in told
    assert "judging by 2 like them" in told
    assert len(list(tmp_path.glob("*/run.json"))) == 3


def test_seeds_of_each_configuration_are_trained_together(tmp_path: Path) -> None:
    made: list[Any] = []
    ends, told = sweep(tmp_path, "seed=0,1", "optimizer=agn,adag", ended=lambda end, run: made.append(run))
    assert [run.info["trained_together"] for run in made] == [2] * 4
    assert {end.folder for end in ends} == {run.folder for run in made}
    assert "runs 3 to 4 of 4 (about " in told


def test_what_failed_or_was_computed_by_other_code_is_repeated(tmp_path: Path) -> None:
    first, _ = sweep(tmp_path, "seed=0,1,2,3")
    change(first[0].folder, status="failed")
    change(first[1].folder, status="running")
    change(first[2].folder, code="other")
    again, told = sweep(tmp_path, "seed=0,1,2,3")
    assert [end.before for end in again] == [False, False, False, True]
    assert {end.status for end in again} == {"stopped"}
    assert (
        f"seed=2: {first[2].folder.name if first[2].folder else ''} was computed by other code, and is repeated" in told
    )
    assert told.count("other code") == 1


def test_a_run_that_diverges_is_an_answer(tmp_path: Path) -> None:
    overrides = (
        "optimizer=downpour",
        "model=rosenbrock",
        "workers=4",
        "stop.updates=10000",
        "local.learning_rate=0.002",
    )
    first, _ = sweep(tmp_path, *overrides)
    again, _ = sweep(tmp_path, *overrides)
    assert [end.status for end in first] == [end.status for end in again] == ["diverged"]
    assert all(end.before for end in again)


def test_a_run_that_fails_is_named_at_once_and_the_others_go_on(tmp_path: Path) -> None:
    ends, told = sweep(tmp_path, "model.start=[1,2],[1],[2,1]", "epochs=null,0")
    assert [end.status for end in ends] == ["stopped", "failed"] + ["failed"] * 2 + ["stopped", "failed"]
    refused, wrong_start = ends[1], ends[2]
    assert "epochs=0" in str(refused.reason)
    assert "start" in str(wrong_start.reason)
    assert told.index("failed: epochs=0") < told.index("run 1 of 3")
    assert (
        told.index("run 2 of 3") < told.index(f"failed: epochs=null: {wrong_start.reason}") < told.index("run 3 of 3")
    )
    assert [end.folder is None for end in ends] == [False, True, True, True, False, True]


def test_a_mistake_of_ours_costs_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runner.run_together

    def fails_once(configs: Any, *arguments: Any, **options: Any) -> Any:
        if configs[0].batch_size == 2:
            raise ZeroDivisionError("a mistake")
        return run(configs, *arguments, **options)

    monkeypatch.setattr(runner, "run_together", fails_once)
    ends, told = sweep(tmp_path, "batch_size=1,2,3")
    assert [end.status for end in ends] == ["stopped", "failed", "stopped"]
    assert ends[1].reason == "ZeroDivisionError: a mistake"
    assert "failed: batch_size=2: ZeroDivisionError: a mistake" in told
    assert "fails_once" in capsys.readouterr().err


def test_an_interruption_ends_the_sweep_and_keeps_what_is_there(tmp_path: Path) -> None:
    def interrupt(end: End, run: Any) -> None:
        if end.label == "batch_size=2":
            raise KeyboardInterrupt

    ends, _ = sweep(tmp_path, "batch_size=1,2,3", ended=interrupt)
    assert [end.status for end in ends] == ["stopped", "not started", "not started"]
    again, _ = sweep(tmp_path, "batch_size=1,2,3")
    assert [end.before for end in again] == [True, True, False]


@pytest.mark.parametrize("chunk", [1, slow(2)])
def test_processes_side_by_side_make_what_one_process_makes(tmp_path: Path, chunk: int) -> None:
    overrides = ("batch_size=1,2,3", "model.start=[1,2],[1]")
    alone, _ = sweep(tmp_path / "alone", *overrides)
    beside, told = sweep(tmp_path / "beside", *overrides, processes=2, chunk=chunk)
    assert [end.status for end in beside] == [end.status for end in alone] == ["stopped", "failed"] * 3
    assert told.count("failed: model.start=[1]: ") == 3
    for one, other in zip(alone[::2], beside[::2], strict=True):
        assert one.folder
        assert other.folder
        assert (one.folder / "model.npz").read_bytes() == (other.folder / "model.npz").read_bytes()
    again, _ = sweep(tmp_path / "beside", *overrides, processes=2)
    assert [end.before for end in again] == [True, False] * 3


def test_a_process_that_is_killed_costs_its_runs_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distopt.runner.sweep.attempt_elsewhere", kill)
    ends, told = sweep(tmp_path, "batch_size=1,2", processes=2)
    assert [end.status for end in ends] == ["failed"] * 2
    assert "the process that made it was killed" in told


def kill(groups: Any) -> None:
    """Die as of a lack of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_same_run_twice_in_a_sweep_is_made_once(tmp_path: Path) -> None:
    ends, _ = sweep(tmp_path, "seed=0,1,0")
    assert [end.before for end in ends] == [False, False, True]
    assert ends[0].folder == ends[2].folder
    assert len(list(tmp_path.glob("*/run.json"))) == 2


def test_two_sweeps_at_once_make_every_run_once(tmp_path: Path) -> None:
    words = ["run", "-m", *SMALL, "batch_size=1,2,3,4", f"output={tmp_path / 'runs'}"]
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    with Launched(*words, cwd=folders[0]) as first, Launched(*words, cwd=folders[1]) as second:
        assert (first.end(), second.end()) == (0, 0)
        told = first.output + second.output
    assert len(list((tmp_path / "runs").glob("*/run.json"))) == 4
    assert told.count("finished before, not repeated") == 4
    assert [path.name for path in (tmp_path / "runs").glob(".*")] == []


@pytest.mark.parametrize("processes", [1, 2])
def test_what_another_process_makes_comes_last_and_is_made_if_that_one_ends_without_it(
    tmp_path: Path, processes: int
) -> None:
    ends, _ = sweep(tmp_path / "elsewhere", "batch_size=1")
    assert ends[0].folder
    info = json.loads((ends[0].folder / "run.json").read_text())
    other = claim(tmp_path, info["fingerprint"], info["code"])
    order: list[str] = []

    def note(end: End, run: Any) -> None:
        order.append(end.label)
        if len(order) == 2:
            other.release()

    ends, told = sweep(tmp_path, "batch_size=1,2,3", ended=note, processes=processes)
    assert [(end.status, end.before) for end in ends] == [("stopped", False)] * 3
    assert order[-1] == "batch_size=1"
    assert "waiting for what another process is making: batch_size=1" in told


def test_a_run_that_another_process_made_under_a_name_is_not_made_again(tmp_path: Path) -> None:
    first, _ = sweep(tmp_path, "seed=5", "name=mine")
    assert first[0].folder
    info = json.loads((first[0].folder / "run.json").read_text())
    hidden = first[0].folder.rename(tmp_path / ".mine")
    other, order = claim(tmp_path, info["fingerprint"], info["code"]), []

    def note(end: End, run: Any) -> None:
        order.append(end.label)
        if len(order) == 1:  # the other process ends, and its folder is there
            hidden.rename(tmp_path / "mine")
            other.release()

    ends, _ = sweep(tmp_path, "checkpoint.every=3", "seed=5,6", ended=note)
    assert order == ["seed=6", "seed=5"]
    assert [(end.folder and end.folder.name == "mine", end.before) for end in ends] == [(True, True), (False, False)]


def test_seeds_that_train_together_wait_for_the_one_that_is_made_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends, _ = sweep(tmp_path / "elsewhere", "seed=7")
    assert ends[0].folder
    info = json.loads((ends[0].folder / "run.json").read_text())
    other, slept = claim(tmp_path, info["fingerprint"], info["code"]), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            other.release()

    monkeypatch.setattr("distopt.runner.sweep.time", SimpleNamespace(sleep=sleep))
    ends, told = sweep(tmp_path, "seed=6,7,8")
    assert [end.status for end in ends] == ["stopped"] * 3
    assert len(slept) == 3
    assert told.count("waiting for what another process is making") == 1


@pytest.mark.parametrize("moment", ["between", "meanwhile"])
def test_ctrl_c_ends_a_sweep_of_several_processes(tmp_path: Path, moment: str) -> None:
    def interrupt(end: End, run: Any) -> None:
        if moment == "between":
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    ends, _ = sweep(tmp_path, "batch_size=1,2,3,4,5,6", ended=interrupt, processes=2)
    counts = {status: [end.status for end in ends].count(status) for status in {end.status for end in ends}}
    assert counts["not started"] >= 3
    made = [path.parent for path in tmp_path.glob("*/run.json")]
    assert len(made) <= 3
    again, _ = sweep(tmp_path, "batch_size=1,2,3,4,5,6", processes=2)
    assert {end.status for end in again} == {"stopped"}


def test_damaged_folders_are_named_and_cost_nothing(tmp_path: Path) -> None:
    sweep(tmp_path, "seed=0")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.json").write_text("{")
    ends, told = sweep(tmp_path, "seed=0")
    assert ends[0].before
    assert f"warning: {tmp_path / 'damaged' / 'run.json'}: cannot be read" in told


def test_times_are_told_in_two_units() -> None:
    assert [duration(seconds) for seconds in (3.4, 60, 3599.9, 3600, 8000)] == [
        *("3 s", "1 min 0 s", "60 min 0 s", "1 h 0 min", "2 h 13 min")
    ]


PARTS = [
    "optimizer=adag",
    "launcher=sim",
    "dataset=digits",
    "model=logistic",
    "workers=2",
    "epochs=2",
    "evaluate.points=1",
]


@pytest.mark.parametrize("processes", [1, slow(2)])
def test_a_student_waits_for_its_teacher_and_is_known_by_it(tmp_path: Path, processes: int) -> None:
    student, teacher = (
        compose([*PARTS, f"output={tmp_path}", *more])
        for more in ([f"teacher={tmp_path / 'first'}"], ["optimizer=ensemble", "name=first"])
    )
    configs = [("student", student), ("teacher", teacher), ("again", student)]
    order: list[str] = []
    ends = Sweep(ended=lambda end, run: order.append(end.label), processes=processes).run(configs)
    assert [end.status for end in ends] == ["done"] * 3
    assert order == ["teacher", "student", "again"]
    assert ends[0].folder == ends[2].folder != ends[1].folder
    again = Sweep().run(configs)
    assert [(end.before, end.folder) for end in again] == [(True, end.folder) for end in ends]


def test_students_of_a_teacher_that_fails_fail_with_a_line_and_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    student, teacher, alone = (
        compose([*PARTS, f"output={tmp_path}", *more])
        for more in ([f"teacher={tmp_path / 'first'}"], ["name=first"], [])
    )
    ends = Sweep().run([("student", student), ("teacher", teacher), ("alone", alone)])
    assert [end.status for end in ends] == ["failed", "failed", "done"]
    assert "no run to learn from" in str(ends[0].reason)
    assert "exists; choose another name" in str(ends[1].reason)
