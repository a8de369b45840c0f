"""Real runs whose windows depend on measured speeds, the server's load or the training itself, and their replays."""

from pathlib import Path

import numpy as np
import pytest

import distopt
from tests.launchers.records import assert_complete, assert_same
from tests.marks import slow

pytestmark = pytest.mark.ray

SMALL = ["workers=3", "epochs=6", "model=logistic", "local=sgd", "optimizer.window=4", "evaluate.points=1"]
REPEATED = ["worker", "staleness", "update", "steps", "loss", "commit_norm", "distance", "sequence"]


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        slow("async_diloco", ["optimizer.dynamic=true"]),
        slow("zealous", []),
        slow("aeasgd", ["optimizer.equilibrium=relative", "optimizer.rho=1", "optimizer.tolerance=0.2"]),
        slow("downpour", ["optimizer.warm_start=5"]),
    ],
)
def test_windows_of_other_lengths_are_repeated_to_the_bit(tmp_path: Path, optimizer: str, settings: list[str]) -> None:
    common = [*SMALL, f"optimizer={optimizer}", *settings, f"output={tmp_path}"]
    run = distopt.run(["launcher=ray", "launcher.workers_per_actor=2", *common])
    assert run.status == "done", run.info["reason"]
    assert_complete(run.commits, workers=3)
    assert run.commits["steps"].sum() == run.info["local_steps"]
    if optimizer == "async_diloco":
        assert max(run.info["speeds"]) == 1
        longest = run.commits.groupby("worker")["steps"].max()
        assert longest.tolist() == [max(1, int(4 * speed)) for speed in run.info["speeds"]]
    if optimizer == "downpour":
        assert run.commits["worker"].head(5).tolist() == [0] * 5
    again = distopt.run(["launcher=replay", f"launcher.trace={run.folder}", *common])
    assert_same(again.commits, run.commits, REPEATED)
    with np.load(run.folder / "model.npz") as real, np.load(again.folder / "model.npz") as repeated:
        for name in real.files:
            np.testing.assert_array_equal(real[name], repeated[name])
