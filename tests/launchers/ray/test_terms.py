"""Dropped commits, bounds, groups and buffers: in virtual time, as predicted, in real processes, and repeated."""

from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.cluster import predict
from distopt.config import compose, validate
from distopt.launchers import sim
from distopt.records import Watch
from distopt.runs.results import Run
from distopt.training.experiment import build
from scripts.tools.processes import distopt as command
from tests.launchers.records import assert_same
from tests.launchers.test_replay import REPEATED, center
from tests.marks import slow

BOOTH = ["model=booth", "dataset=none", "local=sgd", "local.learning_rate=0.002", "workers=4", "stop.updates=60"]
UNEVEN = ["cluster.step.law=exponential", "cluster.step.spread=0.5", "evaluate.every=20"]
SMALL = ["model=logistic", "local=sgd", "local.learning_rate=0.1", "epochs=2", "evaluate.points=2"]
REPEATED_HERE = [*REPEATED, "accepted"]


def assert_accounts(run: Run) -> None:
    """Check that every commit was applied or dropped once, in each worker's order."""
    commits, applied = run.commits, run.commits[run.commits["accepted"] == 1]
    for _, rows in commits.groupby("worker"):
        assert rows["sequence"].tolist() == list(range(1, len(rows) + 1))
    assert commits["time_s"].is_monotonic_increasing
    assert commits["update"].is_monotonic_increasing
    assert sorted(applied["update"].unique()) == list(range(1, commits["update"].max() + 1))
    dropped = commits[commits["accepted"] == 0]
    assert dropped["commit_norm"].isna().all()
    assert run.summary["dropped_share"] == pytest.approx(dropped["steps"].sum() / commits["steps"].sum())
    assert run.summary["staleness_mean"] == applied["staleness"].mean()


@pytest.mark.parametrize("name", ["backup", "ringmaster", "rennala", "ssp", "omnivore"])
def test_virtual_time_is_predicted_and_repeated(tmp_path: Path, name: str) -> None:
    overrides = [*BOOTH, *UNEVEN, f"optimizer={name}", f"output={tmp_path}"]
    run = distopt.run(["launcher=sim", *overrides, "launcher.width=1"])
    assert run.status == "stopped", run.info["reason"]
    assert_accounts(run)
    drops = name in ("backup", "ringmaster", "rennala")
    assert (run.summary["dropped_share"] > 0) == drops
    experiment = build(validate(compose(["launcher=sim", *overrides])))
    found = predict(sim.cluster(experiment), sim.workload(experiment), updates=60)
    assert found["staleness_mean"] == run.summary["staleness_mean"]
    assert found["dropped"] == (run.commits["accepted"] == 0).sum()
    for key in ("commits", "bytes_up", "bytes_down"):
        assert found[key] == run.summary[key]
    again = distopt.run(["launcher=replay", f"launcher.trace={run.folder}", *overrides])
    assert center(again) == center(run)
    assert_same(again.commits, run.commits, REPEATED_HERE)


ENDS = {
    "budget": ["epochs=2.5"],
    "updates": ["stop.updates=9"],
    "seconds": ["stop.seconds=0.06"],
    "loss": ["stop.loss=2.28"],
}
BUFFERS = {"fedbuff": "buffer=4", "rennala": "batch=4", "softsync": "splitting=2"}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", ["fedbuff", slow("rennala"), slow("softsync")])
def test_what_waits_at_the_end_is_applied(tmp_path: Path, name: str, end: str) -> None:
    """An update without commits, evaluated; the batched engine and a replay do what the single one does."""
    overrides = [*SMALL, *UNEVEN[:2], "workers=5", f"optimizer={name}", f"optimizer.{BUFFERS[name]}"]
    overrides += [f"output={tmp_path}", *ENDS[end]]
    overrides += ["evaluate.every=7"] if end == "loss" else []
    single, other = (distopt.run(["launcher=sim", *overrides, f"launcher.width={width}"]) for width in (1, 4))
    assert single.status == ("done" if end == "budget" else "stopped")
    updates = single.summary["updates"]
    assert updates % build(single.config).optimizer.synchrony.period != 0, "nothing waits: choose another end"
    assert single.evals["update"].max() == updates + 1
    if end != "budget":
        before, last = (single.evals.loc[single.evals["update"] == updates + i, "loss"].to_numpy() for i in (0, 1))
        assert (last != before).all()
    assert other.evals["update"].tolist() == single.evals["update"].tolist()
    np.testing.assert_allclose(other.evals["loss"], single.evals["loss"], rtol=1e-4)
    again = distopt.run(["launcher=replay", f"launcher.trace={single.folder}", *overrides])
    assert center(again) == center(single)


def test_what_waits_is_applied_when_a_signal_ends_training() -> None:
    experiment = build(validate(compose(["launcher=sim", *SMALL, "workers=5", "optimizer=fedbuff"])))
    asked = iter([False] * 10 + [True] * 10)
    news = [*sim.launch([experiment], Watch(), lambda: next(asked))]
    outcome = news[-1].outcome
    assert outcome
    assert (outcome.status, outcome.reason) == ("interrupted", "stopped by a signal")
    updates = [row["update"] for each in news for row in each.commits][-1]
    assert updates % 4 != 0, "nothing waits: interrupt it somewhere else"
    assert [row["update"] for each in news for row in each.evals][-1] == updates + 1


def test_what_waits_is_not_applied_where_the_recorded_run_diverged(tmp_path: Path) -> None:
    """Its center is the last one before the bad commit, and a replay ends there, too."""
    overrides = [*BOOTH, "optimizer=fedbuff", "local.learning_rate=0.12", "stop.updates=999", f"output={tmp_path}"]
    run = distopt.run(["launcher=sim", *overrides])
    assert run.status == "diverged"
    assert run.summary["updates"] % 4 != 0, "nothing waits: choose another learning rate"
    assert run.evals["update"].max() <= run.commits["update"].max()
    again = distopt.run(["launcher=replay", f"launcher.trace={run.folder}", *overrides])
    assert center(again) == center(run)


@pytest.mark.ray
@pytest.mark.parametrize(
    "settings",
    [
        ["optimizer=ringmaster", "optimizer.threshold=2"],
        slow(["optimizer=ssp"]),
        slow(["optimizer=fedbuff", "stop.updates=18"]),
    ],
)
def test_real_processes_are_repeated_bit_by_bit(tmp_path: Path, settings: list[str]) -> None:
    real = ["launcher=ray", "launcher.workers_per_actor=2", "workers=4", "epochs=6", "evaluate.points=2"]
    run = distopt.run([*real, *settings, f"output={tmp_path}"])
    assert run.status == ("stopped" if run.optimizer == "fedbuff" else "done"), run.info["reason"]
    assert_accounts(run)
    if run.optimizer == "fedbuff":
        assert (run.commits["update"].max(), run.evals["update"].max()) == (18, 19)
    else:
        assert run.commits["steps"].sum() == run.info["local_steps"]
    if run.optimizer == "ssp":
        done = np.zeros(4)
        for worker in run.commits["worker"]:
            done[worker] += 1
            assert done.max() - done.min() <= 2 + 1
    elif run.optimizer == "ringmaster":
        assert run.commits.loc[run.commits["accepted"] == 1, "staleness"].max() < 2
        assert run.summary["dropped_share"] > 0
    replayed = command("replay", str(run.folder), cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
