"""Real Ray runs: complete records, the right budget, and a bit-identical replay in one process."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import distopt
from distopt.config import compose, validate
from distopt.errors import ConfigError
from distopt.launchers.ray.driver import Crew
from distopt.records import Watch
from distopt.runs.results import Run
from distopt.training.experiment import build
from scripts.tools.processes import distopt as command
from tests.launchers.records import assert_complete, staleness_from_order
from tests.marks import slow

pytestmark = pytest.mark.ray

SETTINGS = ["launcher=ray", "workers=4", "launcher.workers_per_actor=2", "epochs=24", "evaluate.points=4"]


@pytest.fixture(scope="module", params=["adag", slow("easgd")])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ray")
    return distopt.run([*SETTINGS, f"optimizer={request.param}", f"output={folder}"])


def test_every_commit_is_applied_once_and_the_budget_is_used_up(run: Run) -> None:
    assert run.status == "done"
    assert_complete(run.commits, workers=4)
    assert run.commits["steps"].sum() == run.info["local_steps"]
    assert (run.commits["samples"] == 32 * run.commits["steps"]).all()
    assert run.summary["epochs"] == pytest.approx(24, rel=0.01)


def test_barriers_wait_for_all_and_others_for_nobody(run: Run) -> None:
    sizes = run.commits.groupby("update").size()
    assert (sizes == (4 if run.optimizer == "easgd" else 1)).all()


def test_staleness_follows_from_the_order(run: Run) -> None:
    assert run.commits["staleness"].tolist() == staleness_from_order(run.commits)
    assert (run.commits.loc[run.commits["staleness"] == 0, "distance"] == 0).all()


def test_the_center_is_evaluated_before_during_and_after_training(run: Run) -> None:
    validation = run.evals[run.evals["split"] == "validation"]
    assert validation["update"].iloc[0] == 0
    assert validation["update"].iloc[-1] == run.commits["update"].max()
    assert 4 <= len(validation) <= 7
    assert validation["accuracy"].iloc[-1] > validation["accuracy"].iloc[0] + 0.3
    assert validation["samples"].iloc[-1] == run.commits["samples"].sum()


def test_evaluations_carry_the_time_and_samples_of_their_update(run: Run) -> None:
    after = run.commits.groupby("update").agg({"time_s": "last", "samples": "sum"})
    for row in run.evals[run.evals["update"] > 0].itertuples():
        assert row.time_s == after["time_s"][row.update]
        assert row.samples == after["samples"][: row.update].sum()


def test_a_barrier_needs_no_trace_to_be_repeated(run: Run, tmp_path: Path) -> None:
    if run.optimizer != "easgd":
        pytest.skip("the order of an asynchronous run is not known before")
    simulated = distopt.run(
        ["launcher=sim", "launcher.width=1", *SETTINGS[1:2], *SETTINGS[3:], "optimizer=easgd", f"output={tmp_path}"]
    )
    assert simulated.commits["worker"].tolist() == run.commits["worker"].tolist()
    with np.load(run.folder / "model.npz") as real, np.load(simulated.folder / "model.npz") as virtual:
        for name in real.files:
            np.testing.assert_array_equal(real[name], virtual[name])


def test_times_add_up(run: Run) -> None:
    phases = ("startup_s", "compile_s", "train_s", "evaluate_s")
    assert sum(run.info[phase] for phase in phases) == pytest.approx(run.info["total_s"])
    assert run.commits["time_s"].max() <= run.info["train_s"]
    assert run.evals["time_s"].max() <= run.info["train_s"]
    busy = run.commits.groupby("worker")[["compute_s", "exchange_s"]].sum().sum(axis=1)
    assert (busy <= run.info["train_s"]).all()
    assert run.commits.groupby("worker")["exchange_s"].first().tolist() == [0] * 4


def test_the_actors_are_recorded(run: Run) -> None:
    assert sorted(worker for actor in run.info["actors"] for worker in actor["workers"]) == [0, 1, 2, 3]
    assert len(run.info["actors"]) == 2
    assert run.info["clock"] == "wall"


def test_the_replay_is_bit_identical(run: Run) -> None:
    replayed = command("replay", str(run.folder), cwd=run.folder)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


@pytest.mark.slow
def test_the_replay_of_wide_layers_is_bit_identical(tmp_path: Path) -> None:
    """Large products are cut into as many pieces as there are threads: the replay must use as many as the run."""
    wide = ["model.hidden=[1000,2000,1000]", "batch_size=128", "epochs=2", "evaluate.points=1"]
    run = distopt.run([*SETTINGS, *wide, f"output={tmp_path}"])
    replayed = command("replay", str(run.folder), cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_criteria_end_training_early(tmp_path: Path) -> None:
    run = distopt.run([*SETTINGS, "epochs=300", "stop.accuracy=0.6", "evaluate.every=10", f"output={tmp_path}"])
    assert run.status == "stopped"
    assert "stop.accuracy" in run.info["reason"]
    reached = run.evals[(run.evals["split"] == "validation") & (run.evals["accuracy"] >= 0.6)]
    assert len(reached) > 0
    assert run.commits["steps"].sum() < run.info["local_steps"]
    assert_complete(run.commits, workers=4)


@pytest.mark.slow
def test_portions_that_replies_name_and_a_result_beside_the_center(tmp_path: Path) -> None:
    """Sandblaster's workers take what the server hands out, and its trial points are not what is kept."""
    run = distopt.run([*SETTINGS, "optimizer=sandblaster", "model=logistic", f"output={tmp_path}"])
    first = run.commits[run.commits["duplicate"] == 0]
    assert run.status == "done"
    assert (first.groupby("pass").size().iloc[:-1] == 15).all()  # portions of a pass
    assert (np.diff(run.evals.loc[run.evals["split"] == "train", "loss"]) <= 0).all()
    replayed = command("replay", str(run.folder), cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


@pytest.mark.slow
def test_updates_are_counted_exactly(tmp_path: Path) -> None:
    run = distopt.run([*SETTINGS, "epochs=null", "stop.updates=33", "optimizer=dynsgd", f"output={tmp_path}"])
    assert (run.status, run.commits["update"].max(), len(run.commits)) == ("stopped", 33, 33)
    assert run.evals["update"].max() == 33
    with np.load(run.folder / "model.npz") as center:
        assert all(np.isfinite(center[name]).all() for name in center.files)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("launcher.cpus_per_actor=1000", "cpus_per_actor"),
        ("launcher.gpus_per_actor=1000", "gpus_per_actor"),
        ("launcher.workers_per_actor=1", "workers_per_actor"),
    ],
)
def test_more_than_there_is_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, named: str
) -> None:
    monkeypatch.setattr("distopt.launchers.ray.launch._connect", lambda experiment: pytest.fail("Ray was started"))
    with pytest.raises(ConfigError, match=named):
        distopt.run([*SETTINGS, "workers=500", setting, f"output={tmp_path}"])
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_without_room_is_told_and_nothing_else_goes_wrong() -> None:
    experiment = build(validate(compose(SETTINGS)))
    ray = SimpleNamespace(cluster_resources=lambda: {"CPU": 0.0}, kill=lambda actor: None)
    crew = Crew(ray, experiment)
    with pytest.raises(ConfigError, match="0 CPU"):
        crew.start(Watch(), lambda: False)
    crew.dismiss()
