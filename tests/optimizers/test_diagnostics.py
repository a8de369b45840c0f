"""Diagnostics that are recorded on request: right for every kind of commit, and changing nothing else."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from distopt import compression, optimizers
from distopt.errors import ConfigError
from distopt.optimizers.parts import additive, adopt_center, commit_delta, diagnostics
from distopt.rules import Commits, DistributedOptimizer, WorkerRule
from distopt.testing import train
from tests.optimizers.tools import array
from tests.small import SGD, UNEVEN, experiment

CENTER, PULLED, COMMIT = [1.0, 2.0], [0.0, 2.0], [3.0, 4.0]  # the center moved along (1, 0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("delta", 3 / 5),
        ("gradient", -3 / 5),
        ("parameters", 3 / np.hypot(3, 2)),
        ("elastic", 2 / np.hypot(2, 2)),
    ],
)
def test_the_cosine_of_commit_and_progress(kind: str, expected: float) -> None:
    rule = DistributedOptimizer(WorkerRule(commit_delta, adopt_center, sends=kind), additive())
    commits = Commits(jnp.array([0, 1]), jnp.array([1, 0]), array(COMMIT, COMMIT), array(PULLED, CENTER))
    center = array(*CENTER)
    update, plain = (
        each.server.update(commits, (), center) for each in (diagnostics.observed(rule, ["progress"]), rule)
    )
    cosine = update.metrics["progress_cosine"]
    assert float(cosine[0]) == pytest.approx(expected, rel=1e-6)
    assert np.isnan(cosine[1])  # nothing has moved since
    np.testing.assert_array_equal(update.center, plain.center)


def test_it_is_recorded_for_compressed_commits_too_and_changes_no_bit() -> None:
    built = experiment("downpour", workers=3, settings={"server": None})
    watched = diagnostics.observed(built.optimizer, ["progress"])
    squeezed = compression.apply(watched, {"name": "bf16", "error_feedback": True})
    plain, with_cosine, packed = (
        train(built._replace(optimizer=rules), UNEVEN) for rules in (built.optimizer, watched, squeezed)
    )
    np.testing.assert_array_equal(plain.center["x"], with_cosine.center["x"])
    for trained in (with_cosine, packed):
        frame = pd.DataFrame(trained.commits)
        moved = frame["distance"] > 0
        assert frame.loc[moved, "progress_cosine"].between(-1.0001, 1.0001).all()
        assert frame.loc[~moved, "progress_cosine"].isna().all()
    assert "progress_cosine" not in plain.commits[0]


def test_what_cannot_be_recorded_is_refused() -> None:
    config = {"optimizer": {"name": "agn", "window": 1, "commit": "delta"}, "compression": {"name": "none"}}
    with pytest.raises(
        ConfigError, match=r"diagnostics of optimizer=agn: \['speed'\] must be a list of some of progress"
    ):
        optimizers.from_config(config | {"diagnostics": ["speed"]}, experiment("downpour", local=SGD).local)
    silent = DistributedOptimizer(WorkerRule(commit_delta, adopt_center), additive())
    with pytest.raises(ValueError, match=r"WorkerRule.sends"):
        diagnostics.observed(silent, ["progress"])
    sums = silent._replace(worker=silent.worker._replace(sends="sums"))
    with pytest.raises(ValueError, match="its workers send sums, which point nowhere; set diagnostics=null"):
        diagnostics.observed(sums, ["progress"])
