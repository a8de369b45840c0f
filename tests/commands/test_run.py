"""`distopt run` as a user meets it: what is killed goes on, options stand where they like, exit codes tell."""

import json
import os
import signal
from pathlib import Path

import pytest

from scripts.tools.processes import Launched, distopt

SMALL = ("launcher=sim", "model=booth", "dataset=none", "local=sgd", "local.learning_rate=0.001", "evaluate.points=2")
SWEEP = ("run", *SMALL, "optimizer=agn,adag", "-m", "workers=4", "stop.updates=20000")


def results(output: str) -> list[str]:
    return [line.removeprefix("results: ") for line in output.splitlines() if line.startswith("results: ")]


def statuses(folder: Path) -> list[str]:
    return sorted(json.loads(path.read_text())["status"] for path in folder.glob("*/run.json"))


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    runs = tmp_path / "results"
    with Launched(*SWEEP, cwd=tmp_path) as command:
        command.wait_for(lambda: statuses(runs) == ["running", "stopped"] and results(command.output))
        os.killpg(command.process.pid, signal.SIGKILL)
        assert command.end() == -signal.SIGKILL
        (first,) = results(command.output)
    assert statuses(runs) == ["running", "stopped"]
    before = {path: path.read_bytes() for path in Path(first).rglob("*") if path.is_file()}
    ended = distopt(*SWEEP, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert results(ended.stdout)[0] == first
    assert f"optimizer=agn: finished before, not repeated\nresults: {first}\n" in ended.stdout
    assert "2 runs, 1 of them to be made; about" in ended.stderr
    assert before == {path: path.read_bytes() for path in Path(first).rglob("*") if path.is_file()}
    assert ended.stdout.splitlines()[-1] == "2 runs: 1 finished before, 1 stopped"
    assert statuses(runs) == ["running", "stopped", "stopped"]


def test_an_interrupted_sweep_says_how_to_go_on(tmp_path: Path) -> None:
    with Launched(*SWEEP[:-1], "stop.updates=10,100000000,20", "output=my results", cwd=tmp_path) as command:
        command.wait_for(lambda: list(tmp_path.glob("my results/*/commits.arrow")) and results(command.output))
        command.interrupt()
        assert command.end() == 130
        lines = command.output.splitlines()
    words = " ".join([*SWEEP[:-1], "stop.updates=10,100000000,20", "'output=my results'"])
    assert f"interrupted; to go on: distopt {words}" in lines
    assert "6 runs: 1 stopped, 1 interrupted, 4 not started" in lines
    assert "Traceback" not in "".join(lines)


def test_options_stand_where_they_like_and_failures_decide_the_exit_code(tmp_path: Path) -> None:
    """One run fails in the middle; the folder of one's own is given with an equals sign."""
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\n# small\nstop:\n  updates: 5\n")
    options = ("--config-dir=own", "workers=2", "-m", "model.start=[1,2],[1],[2,1]")
    ended = distopt("run", *SMALL, "optimizer=agn", "experiment=mine", *options, cwd=tmp_path)
    assert ended.returncode == 1, ended.stderr
    assert len(results(ended.stdout)) == 2
    assert "failed: model.start=[1]: " in ended.stderr
    assert ended.stdout.splitlines()[-1] == "3 runs: 2 stopped, 1 failed"
    table = ended.stdout[ended.stdout.index("why there is none") :]
    assert [words in table for words in ("model.start=[1,2]", "model.start=[1] ", "model.start=[2,1]")] == [True] * 3


def test_mistakes_in_a_folder_of_ones_own_are_told_in_short(tmp_path: Path) -> None:
    for options, said in (
        (["--config-dir", "none"], "none: no such folder"),
        (["--config-dir=."], "did you mean workers?"),
    ):
        ended = distopt("run", *options, "worker=2", cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("options", "code"), [(["--nonsense"], 2), (["-m", "seed=0,1", "hydra/launcher=other"], 1)])
def test_what_starts_no_run_leaves_nothing(tmp_path: Path, options: list[str], code: int) -> None:
    ended = distopt("run", *options, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == []
