"""Commits that are not finite, with `on_bad_commit=drop` or `restart`: left out, recorded, replayed."""

from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.runs import results
from distopt.runs.results import Run
from scripts.tools.processes import distopt as command
from tests.marks import slow

EXPLOSIVE = ["model=rosenbrock", "dataset=none", "local=momentum", "model.noise=60", "evaluate.points=2"]
EXPLOSIVE += ["workers=4", "optimizer.window=5", "local.learning_rate=0.002", "stop.updates=60"]


def assert_some_refused(run: Run) -> None:
    """Check that some commits were refused and some were not, and that every center is finite."""
    refused = run.commits["refused"] == 1
    bad = ~(np.isfinite(run.commits["loss"]) & np.isfinite(run.commits["commit_norm"]))
    assert (refused == bad).all()
    assert refused.any()
    assert not refused.all()
    assert (run.status, run.commits["update"].max(), run.summary["refused"]) == ("stopped", 60, refused.sum())
    with np.load(run.folder / "model.npz") as center:
        assert all(np.isfinite(center[name]).all() for name in center.files)


@pytest.mark.parametrize(
    ("setting", "optimizer"),
    [
        ("drop", "easgd"),
        ("restart", "adag"),
        slow("drop", "downpour"),
        slow("drop", "fedbuff"),
        slow("restart", "aeasgd"),
    ],
)
def test_training_goes_on_without_them(tmp_path: Path, setting: str, optimizer: str) -> None:
    settings = [*EXPLOSIVE, f"optimizer={optimizer}", f"on_bad_commit={setting}", f"output={tmp_path}"]
    run = distopt.run([*settings, "launcher=sim", "name=run"])
    assert_some_refused(run)
    replayed = command("replay", str(run.folder), cwd=tmp_path) if optimizer in ("easgd", "fedbuff") else None
    assert replayed is None or replayed.returncode == 0, replayed


@pytest.mark.ray
@pytest.mark.slow
def test_real_workers_start_over_and_the_replay_is_identical(tmp_path: Path) -> None:
    settings = [*EXPLOSIVE, "optimizer=aeasgd", "on_bad_commit=restart", f"output={tmp_path}", "name=run"]
    assert_some_refused(distopt.run([*settings, "launcher=ray", "launcher.workers_per_actor=2"]))
    replayed = command("replay", str(tmp_path / "run"), cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert results.load(tmp_path / "run").info["launcher"] == "ray"
