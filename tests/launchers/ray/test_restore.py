"""Real runs whose server, or everything, is killed: they go on from the last checkpoint, and can be repeated."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.runs import results
from distopt.runs.results import Run
from scripts.tools.processes import Launched
from scripts.tools.processes import distopt as command
from tests.launchers.records import assert_complete

pytestmark = pytest.mark.ray

TRAIN = (
    *("run", "launcher=ray", "workers=4", "launcher.workers_per_actor=2", "name=run", "model.hidden=[256,256]"),
    *("batch_size=128", "optimizer.window=20", "epochs=null", "stop.updates=300", "evaluate.every=75"),
    *("checkpoint.every=15", "optimizer=adag"),
)


def last_checkpoint(folder: Path) -> int:
    return max((int(path.stem) for path in folder.glob("checkpoints/*.json")), default=0)


def assert_restored(run: Run, times: int) -> None:
    """Check that what is recorded is one whole run, and what was undone is told and kept apart."""
    assert (run.status, run.commits["update"].max(), len(run.commits)) == ("stopped", 300, 300)
    assert_complete(run.commits, workers=4)
    assert run.evals["update"].is_monotonic_increasing
    assert {0, 75, 150, 225, 300} <= set(run.evals["update"])
    entries = run.info["resumed"]
    assert len(entries) == times
    for i, entry in enumerate(entries, start=1):
        returned = run.events[(run.events["kind"] == "returned") & (run.events["update"] >= entry["update"])]
        assert set(returned["worker"]) == {0, 1, 2, 3}
        assert returned["kept"].eq(1).all(), "the local optimizers began anew"
        undone = run.folder / "undone" / f"{i}-commits.parquet"
        assert undone.is_file() == (entry["lost_commits"] > 0)
    with np.load(run.folder / "model.npz") as center:
        assert all(np.isfinite(center[name]).all() for name in center.files)


@pytest.mark.slow
def test_a_killed_server_and_a_killed_run_go_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run"
    with Launched(*TRAIN, cwd=tmp_path) as launched:
        launched.wait_for(lambda: last_checkpoint(folder) >= 30)
        launched.server().kill()
        launched.wait_for(lambda: (folder / "run.json").is_file() and results.load(folder).info.get("resumed"))
        first = last_checkpoint(folder)
        launched.wait_for(lambda: last_checkpoint(folder) >= first + 30)
        os.killpg(launched.process.pid, signal.SIGKILL)
        launched.end()
    assert results.load(folder).status == "interrupted"  # nobody holds the folder
    ended = command("run", f"resume={folder}", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    run = distopt.load(folder)
    assert_restored(run, times=2)
    assert "the parameter server failed" in run.info["resumed"][0]["reason"]
    assert run.info["resumed"][1]["reason"] == "the run was killed"
    replayed = command("replay", str(folder), cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
