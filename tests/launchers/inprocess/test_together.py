"""Several seeds trained at once give what each of them gives alone, within the reordering of floating-point sums."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

import distopt
from distopt.config import compose
from distopt.launchers import sim
from distopt.runner.run import run_together
from distopt.runs.results import Run
from tests.launchers.inprocess.test_vectorized import CLOSE, FAILING, HETEROGENEOUS, SAME
from tests.marks import slow

SEEDS = (3, 4, 9)
SMALL = ["launcher=sim", "workers=6", "epochs=2", "evaluate.points=3"]
PLAIN = ["model=logistic", "local=sgd", "local.learning_rate=0.1"]  # is compiled sooner


def together(*overrides: str) -> list[Run]:
    config = compose([*SMALL, *overrides])
    return run_together([OmegaConf.merge(config, {"seed": seed}) for seed in SEEDS])


def assert_alike(one: Run, other: Run) -> None:
    """Check that two runs differ in rounding alone."""
    assert (one.status, one.seed, one.info["reason"]) == (other.status, other.seed, other.info["reason"])
    assert one.info["fingerprint"] == other.info["fingerprint"]
    assert one.info["virtual_s"] == other.info["virtual_s"]
    for name in SAME:
        assert one.commits[name].tolist() == other.commits[name].tolist(), name
    for name in CLOSE:
        np.testing.assert_allclose(one.commits[name], other.commits[name], rtol=1e-4, atol=1e-6, err_msg=name)
    for name in ("update", "time_s", "samples", "split"):
        assert one.evals[name].tolist() == other.evals[name].tolist(), name
    np.testing.assert_allclose(one.evals["loss"], other.evals["loss"], rtol=1e-4)
    with np.load(one.folder / "model.npz") as a, np.load(other.folder / "model.npz") as b:
        for name in a.files:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "cluster"),
    [("easgd", [*HETEROGENEOUS, *PLAIN]), slow("aeasgd", FAILING), slow("easgd", HETEROGENEOUS)],
)
def test_seeds_together_are_the_seeds_alone(tmp_path: Path, optimizer: str, cluster: list[str]) -> None:
    overrides = [f"optimizer={optimizer}", f"output={tmp_path}", *cluster]
    for run in together(*overrides):
        assert run.info["trained_together"] == len(SEEDS)
        assert_alike(run, distopt.run([*SMALL, *overrides, f"seed={run.seed}"]))


def test_large_replicas_are_trained_one_run_after_the_other(tmp_path: Path) -> None:
    for run in together(f"output={tmp_path}", "launcher.width=1", "stop.updates=5"):
        assert (run.status, len(run.commits)) == ("stopped", 5)


@pytest.mark.slow
def test_what_does_not_fit_together_is_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = [f"output={tmp_path}", "stop.updates=20", *PLAIN]
    expected = together(*overrides)
    monkeypatch.setattr(sim, "ROOM_BYTES", 2 * 6 * sim.replica_bytes(expected_experiment()))
    for run, other in zip(together(*overrides), expected, strict=True):
        assert_alike(run, other)


def expected_experiment() -> sim.Experiment:
    from distopt import config
    from distopt.training import experiment

    return experiment.build(config.validate(compose([*SMALL, *PLAIN])))


def test_one_of_them_may_diverge(tmp_path: Path) -> None:
    """Just above the critical gain some seeds of a noisy run overflow earlier than others."""
    runs = together(
        *("model=quadratic", "dataset=none", "optimizer=downpour", "optimizer.window=1", "local=sgd", "epochs=null"),
        *("local.learning_rate=3", "model.noise=1", "stop.updates=400", "cluster.step.law=exponential"),
        f"output={tmp_path}",
    )
    assert {run.status for run in runs} <= {"diverged", "stopped"}
    assert "diverged" in {run.status for run in runs}
    for run in runs:
        with np.load(run.folder / "model.npz") as model:
            assert np.isfinite(model["x"]).all()
        if run.status == "diverged":
            assert f"update {run.commits['update'].max() + 1}:" in run.info["reason"]
