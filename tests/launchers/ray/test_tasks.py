"""Every kind of task on real workers, an asynchronous and a synchronous optimizer each: repeated to the bit."""

from pathlib import Path

import numpy as np
import pytest

import distopt
from tests.launchers.records import assert_complete, assert_same
from tests.launchers.test_replay import center
from tests.tasks.test_runs import Make, numbers, one_label, ratings, several_labels

pytestmark = [pytest.mark.ray, pytest.mark.slow]

REPEATED = ["worker", "staleness", "update", "steps", "loss", "commit_norm", "sequence"]


def text(folder: Path) -> list[str]:
    del folder
    return ["dataset=pydoc", "dataset.context=16", "model=gpt", "model.width=16", "model.heads=2", "schedule=cosine"]


def images(folder: Path) -> list[str]:
    del folder
    return ["dataset=digits", "model=resnet", "model.width=8", "model.norm=batch"]


def smoothed(folder: Path) -> list[str]:
    del folder
    return ["dataset=digits", "dataset.whiten=0.1", "model=mlp", "model.norm=whitening", "label_smoothing=0.1"]


@pytest.mark.parametrize("optimizer", ["adag", "synchronous"])
@pytest.mark.parametrize("make", [text, images, smoothed, numbers, one_label, several_labels, ratings])
def test_real_runs_are_repeated_to_the_bit(tmp_path: Path, make: Make, optimizer: str) -> None:
    common = [*make(tmp_path), "workers=2", "steps=6", "optimizer.window=2", "batch_size=8", "evaluate.points=1"]
    common += [f"optimizer={optimizer}", f"output={tmp_path / 'runs'}"]
    common = [word for word in common if not (optimizer == "synchronous" and word.startswith("optimizer.window"))]
    run = distopt.run(["launcher=ray", *common])
    assert run.status == "done", run.info["reason"]
    assert_complete(run.commits, workers=2)
    assert {metric.name for metric in run.metrics} <= set(run.commits) & set(run.evals)
    assert np.isfinite(run.evals["loss"]).all()
    again = distopt.run(["launcher=replay", f"launcher.trace={run.folder}", *common])
    assert center(again) == center(run)
    assert_same(again.commits, run.commits, REPEATED)
