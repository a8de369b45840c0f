"""Virtual time: the same seed gives the same bits, barriers wait for the slowest, and a replay repeats the run."""

from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.errors import ConfigError
from distopt.runs.results import Run
from tests.launchers.records import assert_complete, assert_same, staleness_from_order
from tests.marks import slow

SMALL = ["launcher=sim", "workers=4", "epochs=4", "evaluate.points=4", "cluster=heterogeneous"]


def run(folder: Path, *overrides: str) -> Run:
    return distopt.run([*SMALL, f"output={folder}", *overrides])


def center(finished: Run) -> dict[str, bytes]:
    with np.load(finished.folder / "model.npz") as model:
        return {name: model[name].tobytes() for name in model.files}


@pytest.mark.parametrize("optimizer", ["adag", slow("easgd"), slow("dynsgd")])
def test_the_same_seed_gives_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    a, b, other = (run(tmp_path, f"optimizer={optimizer}", f"seed={seed}") for seed in (3, 3, 4))
    assert center(a) == center(b) != center(other)
    assert_same(a.commits, b.commits, list(a.commits.columns))
    assert_same(a.evals, b.evals, list(a.evals.columns))
    assert a.info["fingerprint"] == b.info["fingerprint"] != other.info["fingerprint"]


@pytest.mark.parametrize("optimizer", ["adag", "easgd"])
def test_records_are_complete(tmp_path: Path, optimizer: str) -> None:
    finished = run(tmp_path, f"optimizer={optimizer}")
    commits, evals = finished.commits, finished.evals
    assert (finished.status, finished.info["clock"]) == ("done", "virtual")
    assert_complete(commits, workers=4)
    assert commits["staleness"].tolist() == staleness_from_order(commits)
    assert commits["steps"].sum() == finished.info["local_steps"]
    assert finished.info["virtual_s"] == commits["time_s"].iloc[-1]
    assert evals["update"].iloc[0] == 0
    assert evals["update"].iloc[-1] == commits["update"].iloc[-1]
    after = commits.groupby("update").last()
    totals = commits["samples"].groupby(commits["update"]).sum().cumsum()
    for row in evals[evals["update"] > 0].itertuples():
        assert (row.time_s, row.samples) == (after["time_s"][row.update], totals[row.update])


def test_a_barrier_takes_as_long_as_its_slowest_worker(tmp_path: Path) -> None:
    commits = run(tmp_path, "optimizer=easgd", "cluster.step.law=exponential").commits
    slowest = commits.groupby("update")["compute_s"].max()
    assert commits.groupby("update")["time_s"].first().to_numpy() == pytest.approx(slowest.cumsum().to_numpy())


def test_more_servers_work_takes_more_virtual_time(tmp_path: Path) -> None:
    quick, slow = (run(tmp_path, f"cluster.server.seconds={seconds}") for seconds in (0, 1))
    assert slow.info["virtual_s"] >= len(slow.commits) > quick.info["virtual_s"]
    assert (slow.commits["server_s"] == 1).all()


def test_criteria_end_the_run(tmp_path: Path) -> None:
    by_updates = run(tmp_path, "stop.updates=5")
    assert (by_updates.status, by_updates.commits["update"].max()) == ("stopped", 5)
    by_seconds = run(tmp_path, "stop.seconds=0.3")
    assert by_seconds.commits["time_s"].iloc[-1] >= 0.3 > by_seconds.commits["time_s"].iloc[-2]
    by_loss = run(tmp_path, "stop.loss=2.2", "evaluate.every=1", "epochs=50")
    assert by_loss.evals["loss"].iloc[-1] <= 2.2 < by_loss.evals["loss"].iloc[-3]
    assert "stop.loss" in by_loss.info["reason"]


def test_a_cluster_that_does_not_fit_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"stragglers\.workers"):
        run(tmp_path, "cluster.stragglers.workers=[9]")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_diverges_keeps_its_records_and_its_last_finite_center(tmp_path: Path) -> None:
    explosive = ["model=quadratic", "dataset=none", "local=sgd", "local.learning_rate=0.5", "optimizer=downpour"]
    finished = run(tmp_path, *explosive, "workers=1", "stop.updates=1000")
    last = finished.commits["update"].iloc[-1]
    assert finished.status == "diverged"
    assert 3 < last < 1000
    assert f"update {last + 1}:" in finished.info["reason"]
    assert np.isfinite(finished.commits["loss"]).all()
    with np.load(finished.folder / "model.npz") as model:
        assert np.isfinite(model["x"]).all()


def test_a_run_in_which_nothing_was_applied_is_not_done(tmp_path: Path) -> None:
    refused = run(tmp_path, "optimizer=downpour", "local=sgd", "local.learning_rate=1e30", "on_bad_commit=drop")
    assert refused.status == "diverged"
    assert "commits were refused or dropped: nothing was applied" in refused.info["reason"]
    assert refused.summary["refused_share"] == 1
