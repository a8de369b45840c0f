"""The batched engine gives what one window at a time gives, within the reordering of floating-point sums."""

from pathlib import Path

import numpy as np
import pytest

import distopt
from tests.marks import slow

HETEROGENEOUS = ["cluster.step.law=exponential", "cluster.step.spread=0.5"]
FAILING = ["cluster.failures.mean_time_s=0.3", "cluster.failures.downtime_s=0.1", "local.on_pull=reset"]
SAME = [
    "update",
    "worker",
    "staleness",
    "time_s",
    "steps",
    "samples",
    "sequence",
    "compute_s",
    "exchange_s",
    "server_s",
]
CLOSE = ["loss", "accuracy", "commit_norm", "distance"]


@pytest.mark.parametrize(
    ("optimizer", "cluster"),
    [
        ("adag", HETEROGENEOUS),
        slow("downpour", FAILING),
        slow("aeasgd", FAILING),
        slow("easgd", HETEROGENEOUS),
        slow("synchronous", []),
    ],
)
def test_a_batch_gives_what_single_windows_give(tmp_path: Path, optimizer: str, cluster: list[str]) -> None:
    overrides = [f"optimizer={optimizer}", "launcher=sim", "workers=13", "epochs=3", f"output={tmp_path}", *cluster]
    single, batched = (distopt.run([*overrides, f"launcher.width={width}"]) for width in (1, 4))
    assert single.status == batched.status == "done"  # also of what an elastic rule conserves
    for name in SAME:
        assert single.commits[name].tolist() == batched.commits[name].tolist(), name
    for name in CLOSE:
        np.testing.assert_allclose(single.commits[name], batched.commits[name], rtol=1e-4, atol=1e-6, err_msg=name)
    with np.load(single.folder / "model.npz") as one, np.load(batched.folder / "model.npz") as many:
        for name in one.files:
            np.testing.assert_allclose(one[name], many[name], rtol=1e-4, atol=1e-5)


def test_a_diverging_batch_keeps_the_last_finite_center(tmp_path: Path) -> None:
    run = distopt.run(
        ["launcher=sim", "workers=8", "launcher.width=4", "model=rosenbrock", "dataset=none", "optimizer=downpour",
         "local=sgd", "local.learning_rate=0.0008", "optimizer.window=1", "stop.updates=1000", f"output={tmp_path}"]
    )  # fmt: skip
    assert run.status == "diverged"
    assert len(run.commits) > 1
    assert f"update {run.commits['update'].max() + 1}:" in run.info["reason"]
    with np.load(run.folder / "model.npz") as model:
        assert np.isfinite(model["x"]).all()
