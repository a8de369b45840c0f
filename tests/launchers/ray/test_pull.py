"""Workers that pull before they commit: in virtual time, as predicted, in real processes, and repeated."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import distopt
from distopt.cluster import predict
from distopt.config import compose, validate
from distopt.launchers import sim
from distopt.launchers.ray.server_actor import ParameterServer
from distopt.launchers.ray.shared_memory import Wire
from distopt.runs.results import Run
from distopt.training.experiment import build
from distopt.training.messages import Delivery
from distopt.training.shapes import shapes
from scripts.tools.processes import distopt as command
from tests.launchers.records import assert_complete, assert_same
from tests.launchers.test_replay import REPEATED, center

BOOTH = ["model=booth", "dataset=none", "local=sgd", "local.learning_rate=0.005", "evaluate.every=1", "workers=4"]
SLOW = ["cluster.network.up.latency_s=0.02", "cluster.network.down.latency_s=0.02", "cluster.step.law=exponential"]
ELASTIC = ["optimizer=aeasgd", "optimizer.atomic=false", "optimizer.window=5"]


@pytest.mark.parametrize(
    ("optimizer", "down"),
    [(["optimizer=gem"], 8), (ELASTIC, 8), (["optimizer=hogwild"], 16)],
    ids=["gem", "aeasgd", "hogwild"],
)
def test_virtual_time_is_predicted_and_repeated(tmp_path: Path, optimizer: list[str], down: int) -> None:
    overrides = [*optimizer, *BOOTH, "stop.updates=60", f"output={tmp_path}"]
    run = distopt.run(["launcher=sim", "launcher.width=4", *SLOW, *overrides])
    assert_complete(run.commits, workers=4)
    assert 0 < run.commits["staleness"].mean() < 3
    assert ((run.commits["distance"] == 0) | (run.commits["staleness"] > 0)).all()
    assert set(run.commits["bytes_down"]) == {down}
    experiment = build(validate(compose(["launcher=sim", *SLOW, *overrides])))
    found = predict(sim.cluster(experiment), sim.workload(experiment), updates=60)
    assert found["staleness_mean"] == run.commits["staleness"].mean()
    assert (found["time_s"], found["bytes_down"]) == (run.commits["time_s"].max(), run.commits["bytes_down"].sum())
    again = distopt.run(["launcher=replay", f"launcher.trace={run.folder}", *overrides])
    assert center(again) == center(run)
    assert_same(again.commits, run.commits, REPEATED)


def test_an_order_without_staleness_has_pulls_right_before_commits(tmp_path: Path) -> None:
    pd.DataFrame({"worker": [0, 1, 1, 2, 3, 0]}).to_csv(tmp_path / "order.csv", index=False)
    overrides = [*ELASTIC, *BOOTH, "stop.updates=60", f"output={tmp_path}"]
    run = distopt.run(["launcher=replay", f"launcher.trace={tmp_path}/order.csv", *overrides])
    assert (run.commits["staleness"] == 0).all()


def test_workers_that_fail_come_back_to_the_center(tmp_path: Path) -> None:
    failing = ["cluster.failures.mean_time_s=0.3", "cluster.failures.downtime_s=0.1"]
    run = distopt.run(
        ["launcher=sim", "optimizer=gem", *BOOTH, *SLOW, *failing, "stop.updates=150", f"output={tmp_path}"]
    )
    assert run.status == "stopped"
    assert run.evals["loss"].iloc[-1] < 0.1 * run.evals["loss"].iloc[0]


def test_a_pull_that_is_sent_again_is_answered_with_the_same_center() -> None:
    experiment = build(validate(compose(["optimizer=gem", *BOOTH, "stop.updates=60"])))
    layout = shapes(experiment)
    message, center = Wire(layout.message), Wire(layout.center)
    server = ParameterServer(experiment.config, 4, experiment.budget.tolist())
    server.prepare(layout)
    server.start({"x": np.zeros(2, np.float32)}, 1)

    def pulled(sequence: int) -> list[float]:
        return center.read(server.pull(0, sequence, True, 0, 0).payload)["x"].tolist()

    assert pulled(1) == [0, 0]
    head = Delivery(1, 1, None, 1, 0, {"loss": 1.0}, 0.0, 0.0, 8, last=False)
    asyncio.run(server.exchange(head, message.pack({"x": np.ones(2, np.float32)})))
    assert [pulled(1), pulled(2)] == [[0, 0], [1, 1]]
    server.end("interrupted", None)
    assert server.pull(0, 3, True, 0, 0).stop


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Run:
    actors = ["launcher=ray", "launcher.workers_per_actor=2", "stop.updates=80"]
    return distopt.run([*actors, *ELASTIC, *BOOTH, f"output={tmp_path_factory.mktemp('pull')}"])


@pytest.mark.ray
def test_real_workers_pull_and_their_run_is_repeated(real: Run) -> None:
    assert_complete(real.commits, workers=4)
    assert set(real.commits["bytes_down"]) == {8}
    assert ((real.commits["distance"] == 0) | (real.commits["staleness"] > 0)).all()
    replayed = command("replay", str(real.folder), cwd=real.folder)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


@pytest.mark.ray
def test_the_center_gains_what_real_workers_lose(real: Run) -> None:
    def points(frame: Any, name: str) -> np.ndarray:
        return frame[[f"{name}x0", f"{name}x1"]].to_numpy()

    centers = points(real.evals[real.evals["split"] == real.evals["split"].iloc[0]], "")
    for _, windows in real.commits.groupby("worker"):
        lost = points(windows, "end_")[:-1] - points(windows, "start_")[1:]
        updates = windows["update"].to_numpy()[:-1]
        np.testing.assert_allclose(centers[updates] - centers[updates - 1], lost, rtol=1e-3, atol=1e-5)
