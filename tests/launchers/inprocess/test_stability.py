"""Where asynchronous methods stop being stable on a quadratic, in virtual time, against known critical gains.

Every coordinate of a quadratic is a system of its own whose gain is learning rate times curvature. One run with
curvatures 5 % below and 5 % above the critical gain must shrink the first coordinate and blow up the second.
"""

import statistics
from pathlib import Path

import numpy as np
import pytest

import distopt
from tests.marks import slow

DETERMINISTIC = ["cluster.step.law=deterministic"]
GAMMA_25 = ["cluster.step.law=gamma", "cluster.step.cv=0.2"]
EXPONENTIAL = ["cluster.step.law=exponential"]


def final(folder: Path, optimizer: str, workers: int, gain: float, law: list[str], seed: int) -> np.ndarray:
    run = distopt.run(
        ["launcher=sim", "model=quadratic", "dataset=none", "model.start=[1.0,1.0]", "local=sgd",
         "local.learning_rate=1.0", f"model.curvatures=[{0.95 * gain},{1.05 * gain}]", f"optimizer={optimizer}",
         "optimizer.window=1", f"workers={workers}", f"stop.updates={400 * workers}", "evaluate.points=1",
         f"seed={seed}", f"output={folder}", *law]
    )  # fmt: skip
    with np.load(run.folder / "model.npz") as model:
        return np.abs(model["x"])


@pytest.mark.parametrize(
    ("optimizer", "workers", "gain", "law"),
    [
        ("downpour", 10, 2 * np.sin(np.pi / (2 * 19)), DETERMINISTIC),
        slow("downpour", 20, 2 * np.sin(np.pi / (2 * 39)), DETERMINISTIC),
        slow("downpour", 40, 2 * np.sin(np.pi / (2 * 79)), DETERMINISTIC),
        slow("agn", 20, 2 * np.sin(np.pi / (2 * 39)), DETERMINISTIC),
        slow("dynsgd", 10, 10 * 2 * np.sin(np.pi / (2 * 19)), DETERMINISTIC),
        slow("downpour", 10, 0.177, GAMMA_25),
        slow("downpour", 10, 0.60, EXPONENTIAL),
    ],
)
def test_the_critical_gain_is_where_it_should_be(
    tmp_path: Path, optimizer: str, workers: int, gain: float, law: list[str]
) -> None:
    seeds = [0] if law is DETERMINISTIC else [0, 1, 2]
    ends = [final(tmp_path, optimizer, workers, gain, law, seed) for seed in seeds]
    assert statistics.median(end[0] for end in ends) < 0.5
    assert statistics.median(end[1] for end in ends) > 2
