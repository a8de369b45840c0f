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
from tests.marks import slow

#: the logistic model on the digits: 640 weights and 10 biases
SMALL = ["model=logistic", "local=sgd", "local.learning_rate=0.3", "workers=3", "epochs=2", "evaluate.points=2"]
QSGD = 4 * 650 // 8 + 4 * 6  # 4 bits per number, 6 buckets


def compressed_agn(*, method: str, **settings: Any) -> DistributedOptimizer:
    return apply(agn(), {"name": method, "error_feedback": True, **settings})


@pytest.mark.parametrize(
    "settings",
    [
        slow({"method": "bf16"}),
        slow({"method": "bf16", "rounding": "stochastic"}),
        slow({"method": "int8"}),
        {"method": "topk", "share": 0.5, "count": None},
        slow({"method": "sign"}),
        # Random numbers differ from worker to worker: with few levels it matters how workers are numbered.
        slow({"method": "qsgd", "levels": 32767, "bucket": 2}),
        slow({"method": "powersgd", "rank": 1}),
    ],
    ids=lambda settings: settings.get("rounding", settings["method"]),
)
def test_contract(settings: dict[str, Any]) -> None:
    check(compressed_agn, **settings)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (["compression=topk", "compression.share=0.1"], 65 * (4 + 2)),
        slow(["compression=qsgd"], QSGD),
        slow(["compression=powersgd", "compression.rank=2"], 4 * 2 * (64 + 10) + 4 * 10),
    ],
    ids=["topk", "qsgd", "powersgd"],
)
def test_virtual_time_counts_the_bytes_of_the_code(tmp_path: Path, settings: list[str], size: int) -> None:
    overrides = ["launcher=sim", "optimizer=agn", "cluster=wan", f"output={tmp_path}", *settings, *SMALL]
    single, batched = (distopt.run([*overrides, f"launcher.width={width}"]) for width in (1, 3))
    assert (single.commits["bytes_up"] == size).all()
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
    assert set(run.commits["bytes_down"]) == {650 + 4 * 2}


def test_the_prediction_knows_the_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for name in ("none", "topk"):
        settings = ["optimizer=agn", "cluster=wan", f"compression={name}", *SMALL]
        assert main(["predict", "--format", "json", *settings]) == 0
        found[name] = json.loads(capsys.readouterr().out)
    assert found["none"]["bytes_up"] / found["topk"]["bytes_up"] == pytest.approx(2600 / 36)
    assert found["topk"]["time_s"] < found["none"]["time_s"]


@pytest.mark.ray
@pytest.mark.slow
def test_the_replay_of_a_real_run_is_bit_identical(tmp_path: Path) -> None:
    real = ["launcher=ray", "launcher.workers_per_actor=3", "optimizer=adag", "compression=qsgd", f"output={tmp_path}"]
    run = distopt.run([*real, *SMALL])
    assert run.status == "done"
    assert set(run.commits["bytes_up"]) == {QSGD}
    assert main(["replay", str(run.folder)]) == 0
