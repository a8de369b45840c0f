"""Whole runs with compressed commits: the contract, both engines of virtual time, real processes, and their bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distopt
from distopt.cli import main
from distopt.compression import apply
from distopt.optimizers.agn import agn
from distopt.rules import DistributedOptimizer
from distopt.testing import check

#: the logistic model on the digits: 640 weights and 10 biases
SMALL = ["model=logistic", "local=sgd", "local.learning_rate=0.3", "workers=3", "epochs=2", "evaluate.points=2"]
BYTES = {"bf16": 1300, "int8": 658, "topk": 36, "sign": 90, "qsgd": 349, "powersgd": 1224}


def compressed_agn(**settings: Any) -> DistributedOptimizer:
    return apply(agn(), {"error_feedback": True, **settings})


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "bf16"},
        {"name": "int8"},
        {"name": "topk", "share": 0.5, "count": None},
        {"name": "sign"},
        # Random numbers differ from worker to worker: with few levels it matters how workers are numbered.
        {"name": "qsgd", "levels": 32767, "bucket": 2},
        {"name": "powersgd", "rank": 1},
    ],
    ids=lambda settings: settings["name"],
)
def test_contract(settings: dict[str, Any]) -> None:
    method = {("compression" if key == "name" else key): value for key, value in settings.items()}
    check(contracted, **method)


def contracted(*, compression: str, **settings: Any) -> DistributedOptimizer:
    return compressed_agn(name=compression, **settings)


def center(run: Any) -> dict[str, bytes]:
    with np.load(run.folder / "model.npz") as arrays:
        return {key: arrays[key].tobytes() for key in arrays.files}


@pytest.mark.parametrize("name", BYTES)
def test_virtual_time_counts_the_bytes_of_the_code(tmp_path: Path, name: str) -> None:
    overrides = ["launcher=sim", "optimizer=agn", "cluster=wan", f"output={tmp_path}", f"compression={name}", *SMALL]
    single, batched = (distopt.run([*overrides, f"launcher.width={width}"]) for width in (1, 3))
    assert (single.commits["bytes_up"] == BYTES[name]).all()
    assert (single.commits["bytes_down"] == 4 * 650).all()
    for column in ("worker", "staleness", "time_s", "bytes_up", "bytes_down"):
        assert single.commits[column].tolist() == batched.commits[column].tolist(), column
    for column in ("loss", "commit_norm"):
        np.testing.assert_allclose(single.commits[column], batched.commits[column], rtol=1e-3, err_msg=column)
    loss = single.evals.loc[single.evals["split"] == "validation", "loss"].to_numpy()
    assert loss[-1] < 0.95 * loss[0]


def test_elastic_replies_are_the_smaller_ones(tmp_path: Path) -> None:
    overrides = ["launcher=sim", "optimizer=easgd", "optimizer.elastic_learning_rate=0.02", f"output={tmp_path}"]
    run = distopt.run([*overrides, *SMALL, "compression=int8"])
    assert set(run.commits["bytes_up"]) == {4 * 650}
    assert set(run.commits["bytes_down"]) == {BYTES["int8"]}


def test_the_prediction_knows_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for name in ("none", "topk"):
        settings = ["optimizer=agn", "cluster=wan", f"compression={name}", *SMALL]
        assert main(["predict", "--format", "json", *settings]) == 0
        found[name] = json.loads(capsys.readouterr().out)
    assert found["none"]["bytes_up"] / found["topk"]["bytes_up"] == pytest.approx(2600 / 36)
    assert found["topk"]["time_s"] < found["none"]["time_s"]


@pytest.mark.ray
def test_the_replay_of_a_real_run_is_bit_identical(tmp_path: Path) -> None:
    real = ["launcher=ray", "launcher.workers_per_actor=3", "optimizer=adag", "compression=qsgd", f"output={tmp_path}"]
    run = distopt.run([*real, *SMALL])
    assert run.status == "done"
    assert set(run.commits["bytes_up"]) == {BYTES["qsgd"]}
    assert main(["replay", str(run.folder)]) == 0
