"""The installed command, run from a folder that is not the checkout."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distopt.cli import COMMANDS
from distopt.runs import results
from scripts.tools.processes import distopt
from tests.marks import slow

TINY = ("run", "launcher=sim", "workers=2", "epochs=2", "evaluate.points=2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """The folder of a tiny finished run, as its last line of output names it."""
    ended = distopt(*TINY, "name=first", cwd=home)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == f"results: {home / 'results' / 'first'}"
    return home / "results" / "first"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_there_for_every_command(command: str, tmp_path: Path) -> None:
    ended = distopt(command, "--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert len(ended.stdout) > 100
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_is_told_apart_from_failure(tmp_path: Path) -> None:
    assert distopt("nonsense", cwd=tmp_path).returncode == 2
    failed = distopt("replay", "nowhere", cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "nowhere" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.xdist_group("cli")
def test_a_run_leaves_the_whole_contract(run: Path) -> None:
    files = {path.name for path in run.iterdir()}
    assert files == {
        *("config.yaml", "run.json", "summary.json", "model.npz", "commits.parquet", "evals.parquet", "plots")
    }
    assert {path.suffix for path in (run / "plots").iterdir()} == {".png", ".svg"}


def test_list_names_every_choice(tmp_path: Path) -> None:
    listed = json.loads(distopt("list", "--format", "json", cwd=tmp_path).stdout)
    assert {"adag", "agn", "aeasgd", "sequential"} <= listed["optimizers"].keys()
    assert all(words for kind in listed.values() for words in kind.values())
    only = json.loads(distopt("list", "models", "--format", "json", cwd=tmp_path).stdout)
    assert only == listed["models"]


def test_doctor_tells_what_there_is(tmp_path: Path) -> None:
    ended = distopt("doctor", "--format", "json", cwd=tmp_path)
    told = json.loads(ended.stdout)
    assert ended.returncode == 0
    assert told["cores"] >= 1
    assert any(device.startswith("cpu") for device in told["devices"])
    assert told["datasets"]["digits"]


@pytest.mark.xdist_group("cli")
def test_a_replay_is_identical_until_something_is_changed(run: Path, tmp_path: Path) -> None:
    same = distopt("replay", str(run), cwd=tmp_path)
    assert (same.returncode, same.stdout.partition(":")[0]) == (0, "identical")
    changed = shutil.copytree(run, tmp_path / "changed")
    with np.load(run / "model.npz") as model:
        arrays = dict(model)
    name = next(iter(arrays))
    arrays[name] = np.nextafter(arrays[name], np.float32(np.inf), dtype=np.float32)
    np.savez(changed / "model.npz", **arrays)
    other = distopt("replay", str(changed), cwd=tmp_path)
    assert (other.returncode, other.stdout.partition(":")[0]) == (1, "different")
    assert list(tmp_path.iterdir()) == [changed]


@pytest.mark.xdist_group("cli")
def test_a_replay_with_two_neighbouring_commits_swapped_is_different(run: Path, tmp_path: Path) -> None:
    swapped = shutil.copytree(run, tmp_path / "swapped")
    commits = pd.read_parquet(run / "commits.parquet")
    order = commits["worker"].tolist()
    i = next(i for i in range(1, len(order) - 1) if order[i] != order[i + 1])
    order[i], order[i + 1] = order[i + 1], order[i]
    commits.assign(worker=order).to_parquet(swapped / "commits.parquet")
    assert distopt("replay", str(swapped), cwd=tmp_path).returncode == 1


def test_a_sweep_goes_on_after_a_failure_and_ends_with_a_table(tmp_path: Path) -> None:
    ended = distopt("run", "-m", *TINY[1:], "optimizer=agn,adag", "workers=2,5000", cwd=tmp_path)
    assert ended.returncode == 1
    for name in ("agn", "adag"):
        assert f"failed: workers=5000 optimizer={name}: workers=5000: more shards" in ended.stderr
    folders = re.findall(r"^results: (.*)$", ended.stdout, re.MULTILINE)
    assert [results.load(folder).optimizer for folder in folders] == ["agn", "adag"]
    table = ended.stdout.rpartition("results: ")[2]
    assert "agn" in table
    assert "adag" in table
    assert "TE" in table


@pytest.mark.xdist_group("cli")
def test_an_existing_name_is_refused_and_the_old_run_untouched(run: Path, home: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    ended = distopt(*TINY, "name=first", "seed=1", cwd=home)
    assert ended.returncode == 1
    assert "name=first" in ended.stderr
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_that_diverges_says_where_and_keeps_its_records(tmp_path: Path) -> None:
    explosive = ("model=rosenbrock", "dataset=none", "local=sgd", "local.learning_rate=0.002", "optimizer=downpour")
    ended = distopt(*TINY, *explosive, "workers=4", "stop.updates=10000", "name=high", cwd=tmp_path)
    run = results.load(tmp_path / "results" / "high")
    assert ended.returncode == 1
    assert run.status == "diverged"
    assert len(run.commits) > 0
    assert f"diverged (update {run.commits['update'].max() + 1}:" in ended.stdout
    assert ended.stdout.splitlines()[-1] == f"results: {run.folder}"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["optimizer=adagg", "worker=2"], ["did you mean adag?", "did you mean workers?"]),
        slow(["workers=0", "batch_size=0"], ["workers=0", "batch_size=0"]),
        slow(["dataset=csv", "dataset.file=missing.csv"], ["missing.csv"]),
        (["dataset=csv", "dataset.file=damaged.csv"], ["damaged.csv"]),
        slow(["model=cnn", "dataset=none", "stop.updates=1"], ["cnn"]),
        slow(["model=mlp_thesis"], ["28x28"]),
        slow(["launcher=replay"], ["launcher.trace"]),
        slow(["~epochs"], ["epochs"]),
        slow(["optimizer=null"], ["optimizer"]),
    ],
)
def test_mistakes_are_told_in_short_and_leave_nothing(tmp_path: Path, overrides: list[str], said: list[str]) -> None:
    (tmp_path / "damaged.csv").write_bytes(b"a,label\n1,x\n\x00\xff,\n")
    ended = distopt(*TINY, *overrides, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    for words in said:
        assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "results").exists()


def test_the_configuration_can_be_shown_without_a_run(tmp_path: Path) -> None:
    ended = distopt("run", "--cfg", "job", "optimizer=agn", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "name: agn" in ended.stdout
    assert list(tmp_path.iterdir()) == []


SWEPT = ["launcher=sim", "workers=3", "epochs=1", "evaluate.points=1"]


def folders(output: str) -> list[str]:
    return [line.removeprefix("results: ") for line in output.splitlines() if line.startswith("results: ")]


@pytest.mark.slow
def test_seeds_are_runs_like_any_other_and_finished_ones_are_not_repeated(tmp_path: Path) -> None:
    first = distopt("run", *SWEPT, "seed=1", cwd=tmp_path)
    (alone,) = folders(first.stdout)
    several = distopt("run", *SWEPT, "seeds=[0,1]", cwd=tmp_path)
    assert several.returncode == 0
    assert "finished before, not repeated" in several.stdout
    one, zero = folders(several.stdout)
    assert one == alone
    assert np.load(f"{zero}/model.npz")["Dense_0/kernel"].any()
    again = distopt("run", *SWEPT, "-m", "seed=0,1", cwd=tmp_path)
    assert folders(again.stdout) == [zero, one]


@pytest.mark.slow
def test_seeds_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for seeds in ("[0,0]", "[-1]", "[]", "3"):
        refused = distopt("run", *SWEPT, f"seeds={seeds}", cwd=tmp_path)
        assert refused.returncode == 1
        assert "seeds=" in refused.stderr
