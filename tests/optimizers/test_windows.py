"""Windows whose length an optimizer decides: equal to those it stands between, and repeated to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distopt
from distopt.optimizers.aeasgd import aeasgd
from distopt.optimizers.async_diloco import proportional
from distopt.optimizers.easgd import easgd
from distopt.optimizers.post_local import post_local
from distopt.runs.results import Run
from distopt.windows import count, lengths
from tests.launchers.records import assert_complete, assert_same
from tests.marks import slow
from tests.optimizers.tools import array, centers, equal, window
from tests.small import BEALE, SGD

SMALL = ["workers=3", "epochs=2", "model=logistic", "local=sgd", "optimizer.window=4", "evaluate.points=1"]
UNEQUAL = "cluster.stragglers.workers=[1]", "cluster.stragglers.factor=2.5"
NOISY = ["cluster.step.law=exponential"]
EQUILIBRIUM = ["optimizer.equilibrium=relative", "optimizer.rho=1", "optimizer.tolerance=0.2"]
REPEATED = ["worker", "staleness", "update", "steps", "loss", "commit_norm", "distance", "sequence"]


def simulate(folder: Path, optimizer: str, *overrides: str) -> Run:
    return distopt.run(["launcher=sim", *SMALL, f"optimizer={optimizer}", f"output={folder}", *overrides])


def center(run: Run) -> dict[str, bytes]:
    with np.load(run.folder / "model.npz") as model:
        return {name: model[name].tobytes() for name in model.files}


def replay(folder: Path, run: Run, *overrides: str) -> Run:
    settings = ["launcher=replay", f"launcher.trace={run.folder}", *SMALL, f"optimizer={run.optimizer}"]
    return distopt.run([*settings, f"output={folder}", *overrides])


def test_lengths_end_with_the_budget() -> None:
    assert list(lengths(None, 4, 1.0, 10)) == [4, 4, 2]
    assert list(lengths(post_local(warmup=3).worker.steps.until, 4, 1.0, 10)) == [1, 1, 1, 4, 3]
    assert count(post_local(warmup=3).worker.steps.until, 4, 1.0, 10) == 5
    assert count(None, 4, 1.0, 10) == 3


@pytest.mark.parametrize(("speed", "steps"), [(1.0, 10), (0.5, 5), (0.39, 3), (0.01, 1)])
def test_dynamic_windows_are_proportional_to_the_speed(speed: float, steps: int) -> None:
    assert proportional(10, 7, speed) == steps


def test_a_dynamic_window_is_not_cut_by_rounding() -> None:
    speed = 0.7 / 0.9  # one bit below 7/9
    assert 9 * speed < 7
    assert proportional(9, 1, speed) == 7
    assert all(proportional(window, 1, 1.0) == window for window in (1, 500, 10**6))


@pytest.mark.parametrize(("warmup", "other"), [(None, "synchronous"), (0, "averaging")])
def test_post_local_sgd_stands_between_synchronous_sgd_and_averaging(warmup: int | None, other: str) -> None:
    rounds: dict[str, Any] = {"order": [0, 1, 2] * 6, "model": BEALE}
    window = 3 if other == "averaging" else 1
    mixed = centers("post_local", window=3, settings={"warmup": warmup}, **rounds)
    np.testing.assert_allclose(mixed, centers(other, window=window, **rounds), rtol=1e-5)


def test_dynamic_local_updates_of_equally_fast_workers_are_asynchronous_diloco(tmp_path: Path) -> None:
    plain, dynamic = (simulate(tmp_path, "async_diloco", f"optimizer.dynamic={on}") for on in ("false", "true"))
    assert_same(plain.commits, dynamic.commits, list(plain.commits.columns))
    assert center(plain) == center(dynamic)


def test_slower_workers_commit_as_often_with_dynamic_local_updates(tmp_path: Path) -> None:
    run = simulate(tmp_path, "async_diloco", "optimizer.dynamic=true", *UNEQUAL)
    longest = run.commits.groupby("worker")["steps"].max()
    assert longest.tolist() == [4, 1, 4]  # floor(4 / 2.5)
    assert run.commits["steps"].sum() == run.info["local_steps"]


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [("async_diloco", ["optimizer.dynamic=true", *UNEQUAL]), slow("post_local", ["optimizer.warmup=5"])],
)
def test_every_engine_and_the_replay_take_the_same_windows(tmp_path: Path, optimizer: str, settings: list[str]) -> None:
    single, batched = (simulate(tmp_path, optimizer, *settings, f"launcher.width={width}") for width in (1, 4))
    assert_complete(single.commits, workers=3)
    assert_same(single.commits, batched.commits, ["worker", "steps", "time_s", "staleness"])
    np.testing.assert_allclose(single.commits["loss"], batched.commits["loss"], rtol=1e-4)
    again = replay(tmp_path, single, *settings)
    assert center(again) == center(single)
    assert_same(again.commits, single.commits, REPEATED)


@pytest.mark.parametrize("explore", [True, False])
def test_zealous_downpour_at_a_server_that_is_never_free_is_downpour(explore: bool) -> None:
    zealous = centers("zealous", window=3, settings={"explore": explore})
    local = SGD if explore else SGD | {"learning_rate": 3 * SGD["learning_rate"]}  # one step with the sum of gradients
    np.testing.assert_allclose(zealous, centers("downpour", window=3 if explore else 1, local=local), rtol=1e-5)


def test_zealous_downpour_at_a_server_that_is_always_free_is_downpour_with_window_1(tmp_path: Path) -> None:
    zealous = simulate(tmp_path, "zealous", *NOISY)
    downpour = simulate(tmp_path, "downpour", "launcher.width=1", *NOISY, "optimizer.window=1")
    assert_same(
        zealous.commits, downpour.commits, ["worker", "steps", "time_s", "staleness", "compute_s", "exchange_s"]
    )
    np.testing.assert_allclose(zealous.commits["loss"], downpour.commits["loss"], rtol=1e-4)


@pytest.mark.parametrize(
    ("gradient", "distance", "thesis", "relative"),
    [(5.0, 1.0, False, False), (2.5, 1.0, True, False), (2.1, 1.0, True, True), (0.5, 0.0, True, False)],
)
def test_equilibrium_by_hand(gradient: float, distance: float, thesis: bool, relative: bool) -> None:
    """With ρ = 2: the thesis stops at ‖g‖ < 1 + 2 d, the relative test at ‖g‖ < 1.1 · 2 d."""
    moved = window(array(9, 9), array(1, 1 + distance))
    for test, expected in (("thesis", thesis), ("relative", relative)):
        rule = aeasgd(rho=2, elastic_learning_rate=0.1, equilibrium=test, tolerance=0.1).worker
        assert bool(rule.steps.until.ends(moved, array(0.6 * gradient, 0.8 * gradient), array(1, 1))) == expected


@pytest.mark.parametrize("optimizer", [aeasgd, easgd])
def test_a_worker_learns_of_the_center_from_its_exchange(optimizer: Any) -> None:
    rule = optimizer(rho=2, elastic_learning_rate=0.1, equilibrium="relative").worker
    equal(rule.init(array(7, 7)), 7, 7)
    difference = 0.2 * (array(5, 3) - array(1, 2))
    params, center = rule.adopt(difference, window(array(0, 0), array(5, 3)), array(7, 7))
    equal(center, 1, 2)
    equal(params, 5 - 0.8, 3 - 0.2)


@pytest.mark.parametrize("failing", [[], ["cluster.failures.mean_time_s=0.3"]])
def test_windows_end_at_equilibrium_and_the_budget_counts_real_steps(tmp_path: Path, failing: list[str]) -> None:
    run = simulate(tmp_path, "aeasgd", *EQUILIBRIUM, *NOISY, *failing)
    steps, early = run.commits["steps"], run.commits["early"]
    assert set(steps) > {1, 4}
    assert (early[steps < 4] == 0).sum() <= 3  # the ends of budgets
    assert steps.sum() == run.info["local_steps"]


def test_one_worker_alone_warms_the_center_up(tmp_path: Path) -> None:
    run = simulate(tmp_path, "downpour", "optimizer.warm_start=3", *NOISY)
    commits = run.commits
    assert commits["worker"].head(3).tolist() == [0, 0, 0]
    first = commits.drop_duplicates("worker").set_index("worker")
    pulled = first["update"] - 1 - first["staleness"]
    assert sorted(pulled) == [0, 3, 3]
    assert first["exchange_s"].drop(0).min() > 0
    assert commits["steps"].sum() == run.info["local_steps"]


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [
        ("zealous", ["cluster.server.seconds=0.05"]),
        ("aeasgd", [*EQUILIBRIUM]),
        ("downpour", ["optimizer.warm_start=3"]),
    ],
)
def test_windows_that_only_training_shows_are_repeated_to_the_bit(
    tmp_path: Path, optimizer: str, settings: list[str]
) -> None:
    run = simulate(tmp_path, optimizer, *NOISY, *settings)
    again = replay(tmp_path, run, *[setting for setting in settings if setting.startswith("optimizer")])
    assert center(again) == center(run)
    assert_same(again.commits, run.commits, REPEATED)
