"""What must not happen silently: a killed worker or server, Ctrl-C, lost answers. Every run is a real command."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distopt.runs import results
from distopt.runs.results import Run
from scripts.chaos.disturb import recorded
from scripts.tools.processes import Cluster, Launched, distopt
from tests.launchers.records import assert_complete
from tests.marks import slow

pytestmark = pytest.mark.ray

ENDLESS = (
    *("run", "launcher=ray", "workers=4", "launcher.workers_per_actor=2", "name=run", "evaluate.every=1000"),
    *("model.hidden=[256,256]", "batch_size=128", "optimizer.window=50", "epochs=null", "stop.seconds=100"),
)
LOST_ANSWERS = json.dumps(
    {
        "CoreWorkerService.grpc_client.PushTask": {
            "num_failures": 20,
            "req_failure_prob": 0,
            "resp_failure_prob": 20,
            "in_flight_failure_prob": 0,
        }
    }
)


def training(launched: Launched, folder: Path) -> bool:
    """Whether some commits have reached the folder."""
    return launched.process.poll() is None and recorded(folder) > 10


def records_kept(folder: Path) -> Run:
    """Check that what happened before the end is in the folder, and return the run."""
    run = results.load(folder)
    assert len(run.commits) > 10
    assert_complete(run.commits, workers=4)
    assert run.evals["update"].iloc[0] == 0
    assert (folder / "summary.json").is_file()
    return run


def assert_center_evaluated(run: Run) -> None:
    """Check that the last center was kept and evaluated."""
    assert run.evals["update"].max() == run.commits["update"].max()
    with np.load(run.folder / "model.npz") as center:
        assert all(np.isfinite(center[name]).all() for name in center.files)


def start(tmp_path: Path, *more: str, **environment: Any) -> Launched:
    return Launched(*ENDLESS, *more, cwd=tmp_path, **environment)


@pytest.mark.parametrize("optimizer", ["agn", slow("easgd")])
def test_a_killed_worker_fails_the_run_and_keeps_its_records(tmp_path: Path, optimizer: str) -> None:
    folder = tmp_path / "results" / "run"
    with start(tmp_path, f"optimizer={optimizer}") as launched:
        launched.wait_for(lambda: training(launched, folder))
        launched.workers()[-1].kill()
        assert launched.end() == 1
        assert launched.left_over() == []
    run = records_kept(folder)
    assert run.status == "failed"
    assert "workers 0, 1" in run.info["reason"] or "workers 2, 3" in run.info["reason"]
    assert run.info["reason"] in launched.output
    assert_center_evaluated(run)


def test_a_killed_server_fails_the_run_and_keeps_its_records(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run"
    with start(tmp_path, "optimizer=agn") as launched:
        launched.wait_for(lambda: training(launched, folder))
        launched.server().kill()
        assert launched.end() == 1
        assert launched.left_over() == []
    run = results.load(folder)
    assert run.status == "failed"
    assert "parameter server" in run.info["reason"]
    assert len(run.commits) > 10


@pytest.mark.parametrize("optimizer", [slow("agn"), "easgd"])
def test_ctrl_c_ends_the_run_with_records_evaluations_and_no_process_left(tmp_path: Path, optimizer: str) -> None:
    folder = tmp_path / "results" / "run"
    with start(tmp_path, f"optimizer={optimizer}") as launched:
        launched.wait_for(lambda: training(launched, folder))
        launched.interrupt()
        assert launched.end() == 130
        assert launched.left_over() == []
    run = records_kept(folder)
    assert run.status == "interrupted"
    assert_center_evaluated(run)


@pytest.mark.slow
def test_ctrl_c_before_training_ends_the_run_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run"
    with start(tmp_path, "optimizer=agn") as launched:
        launched.wait_for(lambda: launched.workers())
        launched.process.send_signal(signal.SIGINT)
        assert launched.end() == 130
        assert launched.left_over() == []
    assert results.load(folder).status == "interrupted"


@pytest.mark.slow
def test_lost_answers_are_asked_for_again_and_applied_once(tmp_path: Path) -> None:
    """On an existing cluster, whose worker processes lose a part of the answers to their calls."""
    with Cluster(tmp_path, RAY_testing_rpc_failure=LOST_ANSWERS) as address:
        joined = (f"launcher.address={address}", "optimizer=adag", "stop.updates=200", "evaluate.points=1")
        with start(tmp_path, *joined, "optimizer.window=10", RAY_AUTH_MODE="disabled") as launched:
            assert launched.end() == 0, launched.output
    run = results.load(tmp_path / "results" / "run")
    assert (run.status, len(run.commits)) == ("stopped", 200)
    assert_complete(run.commits, workers=4)
    assert run.commits["exchange_s"].max() > 0.05, "no answer was lost"
    replayed = distopt("replay", str(run.folder), cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


@pytest.mark.slow
def test_a_lost_evaluator_is_replaced_and_training_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run"
    settings = ("optimizer=agn", "evaluate.every=10", "stop.loss=1e-9", "stop.seconds=15", "launcher.timeout=60")
    with start(tmp_path, *settings) as launched:
        launched.wait_for(lambda: training(launched, folder))
        (evaluator,) = launched.evaluators()
        evaluator.kill()
        assert launched.end() == 0, launched.output
        assert launched.left_over() == []
    run = records_kept(folder)
    assert run.status == "stopped"
    assert_center_evaluated(run)
    assert (np.diff(run.evals["update"].unique()[:-1]) == 10).all()
