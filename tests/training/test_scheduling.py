"""Runs whose rate follows a schedule: each clock against NumPy, in every engine, and after a checkpoint."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import distopt
from distopt.config import compose, validate
from distopt.errors import ConfigError
from distopt.runner.run import run_together
from distopt.runs.results import Run
from distopt.schedules import Clock, build
from distopt.testing import train
from distopt.training import experiment as experiments
from distopt.training.batches import Itinerary
from distopt.training.experiment import Experiment
from distopt.training.worker_programs import Replica
from tests.launchers.records import assert_same
from tests.marks import slow
from tests.small import BOOTH, SGD, experiment

COSINE = {"name": "cosine", "clock": None, "length": None, "warmup": 0.25, "final": 0.1}
RATE = SGD["learning_rate"]
REPEATED = ["worker", "staleness", "update", "steps", "loss", "commit_norm", "sequence", "clock", "rate"]


def booth(optimizer: str, *, workers: int = 2, window: int = 3, steps: int = 12, **more: Any) -> Experiment:
    schedule = COSINE | more.pop("schedule", {})
    return experiment(optimizer, window=window, workers=workers, steps=steps, schedule=schedule, **more)


def gradient(x: np.ndarray) -> np.ndarray:
    """Return the gradient of (x + 2y − 7)² + (2x + y − 5)²."""
    a, b = x[0] + 2 * x[1] - 7, 2 * x[0] + x[1] - 5
    return np.array([2 * a + 4 * b, 4 * a + 2 * b])


def factor(s: float, length: float, pace: float = 1) -> float:
    schedule = build(COSINE)
    assert schedule is not None
    return float(schedule.factor(Clock(np.float32(s), np.float32(pace), np.float32(length))))


@pytest.mark.parametrize("clock", ["steps", "share", "samples"])
def test_one_worker_takes_steps_of_the_scheduled_rate(clock: str) -> None:
    """With one worker all clocks agree."""
    trained = train(booth("downpour", workers=1, batch_size=8, schedule={"clock": clock}), [0, 0, 0, 0])
    x = np.array(BOOTH["start"])
    for s in range(12):
        x = x - RATE * factor(s, 12) * gradient(x)
    np.testing.assert_allclose(trained.center["x"], x, rtol=1e-5)
    unit = {"steps": 1, "share": 1 / 12, "samples": 8}[clock]
    np.testing.assert_allclose([row["clock"] for row in trained.commits], np.arange(0, 12, 3) * unit, rtol=1e-6)
    rates = [RATE * factor(s, 12) for s in range(0, 12, 3)]
    np.testing.assert_allclose([row["rate"] for row in trained.commits], rates, rtol=1e-5)


def test_clocks_agree_in_lock_step() -> None:
    shares = []
    for clock, whole in (("steps", 12), ("share", 1), ("samples", 12 * 2 * 32)):
        trained = train(booth("averaging", schedule={"clock": clock}), [0, 1] * 4)
        shares.append([row["clock"] / whole for row in trained.commits])
    np.testing.assert_allclose(shares[0], shares[1], rtol=1e-6)
    np.testing.assert_allclose(shares[0], shares[2], rtol=1e-6)


def test_samples_count_what_all_workers_committed() -> None:
    """A worker that begins late begins at the rate of the others."""
    trained = train(booth("downpour", schedule={"clock": "samples"}), [0, 0, 1, 1, 0, 1])
    clocks = [row["clock"] / 32 for row in trained.commits]
    assert clocks == [0, 3, 0, 9, 6, 12]


def test_a_window_that_starts_anew_goes_on_with_the_clock() -> None:
    """The state of the local method is reset at every pull; the schedule is not part of it."""
    local = {"name": "momentum", "learning_rate": RATE, "momentum": 0.5, "on_pull": "reset"}
    trained = train(booth("downpour", workers=1, local=local), [0] * 4)
    assert [row["clock"] for row in trained.commits] == [0, 3, 6, 9]


def test_the_rate_of_a_local_method_at_the_server_follows_the_updates() -> None:
    trained = train(booth("synchronous", window=1, steps=6), [0, 1] * 6)
    x = np.array(BOOTH["start"])
    for s in range(6):
        x = x - RATE * factor(s, 6) * gradient(x)
    np.testing.assert_allclose(trained.center["x"], x, rtol=1e-5)
    assert [row["clock"] for row in trained.commits] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_the_moves_of_a_center_follow_the_updates() -> None:
    it = booth("averaging", window=1, steps=4, schedule={"clock": "updates"})
    trained = train(it, [0, 1] * 4)
    x = np.array(BOOTH["start"])
    for s in range(4):
        x = x - RATE * factor(s, 4) * gradient(x)
    np.testing.assert_allclose(trained.center["x"], x, rtol=1e-5)
    np.testing.assert_allclose([row["rate"] for row in trained.commits][::2], [factor(s, 4) for s in range(4)])


def test_momentum_of_the_optimizer_sums_scheduled_steps() -> None:
    """EAMSGD's workers: v ← μ v − η f g, x ← x + v; gradients at x + μ v."""
    rules = {"rho": 0.0, "elastic_learning_rate": 0.1, "momentum": 0.5, "synchronous": False}
    x, v = np.array(BOOTH["start"]), np.zeros(2)
    for s in range(12):
        v = 0.5 * v - RATE * factor(s, 12) * gradient(x + 0.5 * v)
        x = x + v
    it = booth("eamsgd", workers=1, settings=rules, window=12)
    replica = Replica(it)
    flight = replica.fly(replica.begin(), Itinerary(it, 0).next())
    np.testing.assert_allclose(flight.window.end["x"], x + 0.5 * v, rtol=1e-5)


def test_decay_is_scheduled_with_the_rate_and_leaves_other_parameters_alone() -> None:
    local = SGD | {"weight_decay": 0.5, "decayed": ["*/kernel"]}
    data = distopt.datasets.load({"name": "digits", "partition": "iid"})
    assert data is not None
    still = data._replace(train=(np.zeros_like(data.train[0]), data.train[1]))
    it = experiment(
        "averaging", model={"name": "logistic"}, local=local, data=still, workers=1, steps=4, window=4, schedule=COSINE
    )
    start = np.asarray(Replica(it).params["Dense_0"]["kernel"])
    end = train(it, [0]).center["Dense_0/kernel"]
    expected = np.prod([1 - RATE * 0.5 * factor(s, 4) for s in range(4)])  # no gradient where inputs are 0
    np.testing.assert_allclose(end, start * expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "more", "said"),
    [
        ("synchronous", ["schedule.clock=steps"], r"optimizer=synchronous takes its steps at the server"),
        ("easgd", ["schedule.clock=updates"], r"optimizer=easgd: its workers adopt something else than the center"),
        ("ssp", ["schedule.clock=samples"], r"optimizer=ssp: .* carry no count"),
        ("adag", ["epochs=null", "stop.updates=9"], r"schedule\.length=null: nothing says how long .* in steps"),
        ("adag", ["schedule.length=1e6"], r"schedule\.length=1e\+06 is longer than the budget of"),
    ],
)
def test_schedules_that_suit_no_run(optimizer: str, more: list[str], said: str) -> None:
    composed = compose([f"optimizer={optimizer}", "schedule=cosine", "epochs=2", *more])
    with pytest.raises(ConfigError, match=said):
        experiments.build(validate(composed))


def test_without_a_budget_a_length_in_updates_is_enough() -> None:
    composed = compose(["schedule=cosine", "epochs=null", "schedule.clock=updates", "stop.updates=40"])
    assert experiments.build(validate(composed)).schedule is None
    composed = compose(["schedule=cosine", "epochs=null", "schedule.length=30", "stop.updates=40"])
    assert experiments.build(validate(composed)).clock(0, 5) == (5, 1, 30)


def scheduled(folder: Path, launcher: str, *more: str) -> Run:
    common = ["workers=3", "steps=20", "model=logistic", "local=sgd", "schedule=cosine", "evaluate.points=2"]
    return distopt.run([f"launcher={launcher}", *common, f"output={folder}", *more])


@pytest.mark.parametrize("clock", ["samples", slow("steps"), slow("updates")])
def test_both_engines_and_the_replay_schedule_alike(tmp_path: Path, clock: str) -> None:
    chosen = f"schedule.clock={clock}"
    alone = scheduled(tmp_path, "sim", chosen, "launcher.width=1", "cluster=heterogeneous")
    together = scheduled(tmp_path, "sim", chosen, "launcher.width=4", "cluster=heterogeneous")
    exact = ["worker", "staleness", "update", "steps", "sequence", "clock"]
    assert_same(together.commits, alone.commits, exact)
    np.testing.assert_allclose(together.commits["rate"], alone.commits["rate"], rtol=1e-5)
    again = scheduled(tmp_path, "replay", chosen, f"launcher.trace={alone.folder}")
    assert_same(again.commits, alone.commits, REPEATED)


@pytest.mark.ray
@pytest.mark.parametrize(("optimizer", "clock"), [("adag", "samples"), slow("synchronous", "updates")])
def test_real_runs_are_repeated_to_the_bit(tmp_path: Path, optimizer: str, clock: str) -> None:
    chosen = [f"optimizer={optimizer}", f"schedule.clock={clock}"]
    run = scheduled(tmp_path, "ray", *chosen)
    assert run.status == "done", run.info["reason"]
    again = scheduled(tmp_path, "replay", *chosen, f"launcher.trace={run.folder}")
    assert_same(again.commits, run.commits, REPEATED)
    with np.load(run.folder / "model.npz") as real, np.load(again.folder / "model.npz") as repeated:
        for name in real.files:
            np.testing.assert_array_equal(real[name], repeated[name])


@pytest.mark.slow
def test_seeds_of_other_budgets_have_schedules_of_their_own(tmp_path: Path) -> None:
    """Shards of other sizes make other budgets, and so other lengths in updates; these runs do not share programs."""
    settings = ["launcher=sim", "workers=3", "epochs=1", "schedule=cosine", "schedule.clock=updates"]
    settings += ["dataset.partition=dirichlet", "dataset.alpha=0.3", "model=logistic", "evaluate.points=1"]
    together = run_together([compose([*settings, f"output={tmp_path}", f"seed={seed}"]) for seed in (0, 1)])
    for run in together:
        updates = run.commits["update"].max()
        last = run.commits.iloc[-1]
        assert last["rate"] == pytest.approx(factor_of(updates - 1, updates), rel=1e-4)


def factor_of(s: int, length: int) -> float:
    schedule = build(COSINE | {"warmup": 0.05})
    assert schedule is not None
    return float(schedule.factor(Clock(jnp.float32(s), 1.0, float(length))))
