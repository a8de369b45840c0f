"""Identities between optimizers: what must agree does, to the bit where the arithmetic is the same."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import distopt
from distopt.optimizers.aeasgd import aeasgd, pulling
from distopt.optimizers.agn import agn
from distopt.optimizers.averaging import averaging
from distopt.optimizers.easgd import easgd
from distopt.optimizers.parts import additive, mean
from distopt.rules import BARRIER, Commits, DistributedOptimizer, Window
from distopt.testing import train
from tests.marks import slow
from tests.optimizers.tools import centers
from tests.small import ADAM, BEALE, SGD, UNEVEN, blobs, experiment

LOGISTIC = {"name": "logistic"}
ROUNDS = [0, 1, 2] * 8
ELASTIC = {"rho": 5.0, "elastic_learning_rate": 0.03}


def test_agn_with_window_1_is_downpour() -> None:
    assert np.array_equal(centers("agn"), centers("downpour"))


def test_agn_divides_longer_windows() -> None:
    assert not np.allclose(centers("agn", window=3), centers("downpour", window=3), rtol=1e-3)


def test_adag_with_a_huge_gamma_is_agn() -> None:
    adag = centers("adag", window=3, settings={"gamma": 1e30})
    np.testing.assert_allclose(adag, centers("agn", window=3), rtol=1e-6)


@pytest.mark.parametrize("placement", ["server", "message"])  # at the worker its own last commit is what moved
def test_adag_without_staleness_is_agn(placement: str) -> None:
    settings = {"gamma": 1e-6, "placement": placement}
    adag = centers("adag", [0] * 10, workers=1, window=3, settings=settings)
    np.testing.assert_allclose(adag, centers("agn", [0] * 10, workers=1, window=3), rtol=1e-6)


def test_adag_with_a_tiny_gamma_freezes_what_moved() -> None:
    start, first, second, third = centers("adag", [0, 1, 2], settings={"gamma": 1e-12})
    assert not np.allclose(start, first, rtol=1e-3)
    np.testing.assert_allclose([second, third], [first, first], rtol=1e-6)


def test_dynsgd_in_round_robin_is_downpour_at_one_nth_of_the_rate() -> None:
    """Both follow θ̃(t+1) = θ̃(t) − (η/n) ∇f(θ̃(t+1−n)), once every worker has pulled."""

    def steps(path: np.ndarray, rate: float) -> np.ndarray:
        x, y = path[1:-3].T  # what a worker pulled, two updates before its next commit
        gradient = np.stack([2 * (x + 2 * y - 7) + 4 * (2 * x + y - 5), 4 * (x + 2 * y - 7) + 2 * (2 * x + y - 5)])
        return path[3:-1] - rate * gradient.T

    slower = SGD | {"learning_rate": SGD["learning_rate"] / 3}
    for trajectory in (centers("dynsgd", ROUNDS), centers("downpour", ROUNDS, local=slower)):
        np.testing.assert_allclose(trajectory[4:], steps(trajectory, slower["learning_rate"]), rtol=1e-4)


@pytest.mark.parametrize("local", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize(
    ("optimizer", "window"), [("downpour", 4), ("dynsgd", 4), ("averaging", 4), ("synchronous", 1)]
)
def test_one_worker_alone_is_sequential(optimizer: str, window: int, local: dict[str, Any]) -> None:
    options = {"order": [0] * 12, "workers": 1, "window": window, "local": local, "model": BEALE}
    np.testing.assert_allclose(centers(optimizer, **options), centers("sequential", **options), rtol=1e-5)


def test_the_window_of_sequential_only_sets_how_often_the_center_is_updated() -> None:
    one = centers("sequential", [0] * 12, workers=1, local=ADAM)
    four = centers("sequential", [0] * 3, workers=1, local=ADAM, window=4)
    np.testing.assert_allclose(four, one[::4], rtol=1e-5)
    anew = centers("sequential", [0] * 3, workers=1, local=ADAM | {"on_pull": "reset"}, window=4)
    assert not np.allclose(anew, four, rtol=1e-5), "Adam begins anew with every window"


LEFT = (1 - 0.01 * np.array([1.0, 10.0])) ** 7
"""What seven steps with the learning rate 0.01 leave of the coordinates of curvature 1 and 10."""


@pytest.mark.parametrize(
    ("optimizer", "workers", "factor"),
    [("downpour", 1, LEFT), ("averaging", 3, LEFT), ("agn", 1, 1 - (1 - LEFT) / 7)],
)
def test_on_a_quadratic_each_update_contracts_by_a_known_factor(
    optimizer: str, workers: int, factor: np.ndarray
) -> None:
    quadratic = {"name": "quadratic", "start": [1.0, 1.0], "curvatures": [1.0, 10.0], "noise": 0.0}
    actual = centers(optimizer, [*range(workers)] * 5, workers=workers, window=7, model=quadratic)
    np.testing.assert_allclose(actual, factor ** np.arange(6)[:, None], rtol=1e-5)


@pytest.mark.parametrize("local", [SGD, ADAM], ids=["sgd", "adam"])
def test_synchronous_is_sequential_on_the_union_of_the_batches(local: dict[str, Any]) -> None:
    """Three shards of 8 are 24 samples, and every batch is a whole shard."""
    options = {"model": LOGISTIC, "local": local, "data": blobs(24)}
    many = train(experiment("synchronous", workers=3, batch_size=8, **options), ROUNDS)
    one = train(experiment("sequential", workers=1, batch_size=24, **options), [0] * 8)
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-5)
    for name, values in one.center.items():
        np.testing.assert_allclose(many.center[name], values, rtol=1e-4, atol=1e-6)


SHARDS: dict[str, Any] = {"workers": 3, "batch_size": 4, "model": LOGISTIC, "data": blobs(24)}


def test_averaging_after_every_sgd_step_is_synchronous() -> None:
    averaged, synchronous = (train(experiment(name, **SHARDS), ROUNDS) for name in ("averaging", "synchronous"))
    np.testing.assert_allclose(averaged.losses, synchronous.losses, rtol=1e-5)
    assert averaged.losses[-1] < averaged.losses[0]


def test_averaging_after_every_adam_step_is_not_synchronous() -> None:
    """The mean of steps that are each scaled to its own gradients is not the step of the mean gradient."""
    options = SHARDS | {"local": ADAM}
    averaged, synchronous = (train(experiment(name, **options), ROUNDS) for name in ("averaging", "synchronous"))
    assert averaged.losses[0] == synchronous.losses[0]
    assert not np.allclose(averaged.losses[1:], synchronous.losses[1:], rtol=1e-3)


def test_agn_behind_a_barrier_is_averaging_with_a_server_learning_rate_of_1_over_the_window() -> None:
    options = SHARDS | {"window": 4}
    averaging = experiment("slowmo", settings={"momentum": 0.0, "learning_rate": 1 / 4}, **options)
    barrier = agn()._replace(server=additive(fold=lambda commits: mean(commits.message)), synchrony=BARRIER)
    ours, theirs = (train(built, ROUNDS) for built in (averaging._replace(optimizer=barrier), averaging))
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-5)


@pytest.mark.parametrize(("optimizer", "order"), [("easgd", ROUNDS), ("aeasgd", UNEVEN)])
def test_elastic_averaging_without_elasticity_leaves_the_center_alone(optimizer: str, order: list[int]) -> None:
    still = centers(optimizer, order, settings=ELASTIC | {"rho": 0.0})
    assert np.array_equal(still, np.broadcast_to(still[0], still.shape))


def test_easgd_and_aeasgd_agree_for_one_worker() -> None:
    options = {"order": [0] * 10, "workers": 1, "window": 3, "settings": ELASTIC}
    assert np.array_equal(centers("easgd", **options), centers("aeasgd", **options))


@pytest.mark.parametrize(
    ("optimizer", "groups"),
    [(aeasgd(**ELASTIC), [[2], [0], [0], [1], [2]]), (easgd(**ELASTIC), [[0, 1, 2]] * 3)],
    ids=["aeasgd", "easgd"],
)
def test_exchanges_conserve_the_sum_of_center_and_workers(
    optimizer: DistributedOptimizer, groups: list[list[int]]
) -> None:
    x, center = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), jnp.ones(4)
    total = center + x.sum(axis=0)
    for workers in groups:
        who, pulled = jnp.array(workers), jnp.broadcast_to(center, (len(workers), 4))
        update = optimizer.server.update(Commits(who, 0 * who, jnp.array(x[workers]), pulled), (), center)
        for worker, reply in zip(workers, update.replies, strict=True):
            still = Window(jnp.array(x[worker]), jnp.array(x[worker]), jnp.int32(1))
            x[worker] = optimizer.worker.adopt(reply, still, ())[0]
        assert not np.allclose(center, update.center)
        center = update.center
        np.testing.assert_allclose(center + x.sum(axis=0), total, rtol=1e-5)


def exchanged(optimizer: DistributedOptimizer, x: np.ndarray, center: Any) -> tuple[np.ndarray, Any]:
    """Let all workers, who are at the rows of x, exchange with the center at once, and say where everybody is then."""
    who, ends = jnp.arange(len(x)), jnp.asarray(x)
    update = optimizer.server.update(Commits(who, 0 * who, ends, jnp.tile(center, (len(x), 1))), (), center)
    stands = [Window(end, end, jnp.int32(1)) for end in ends]
    moved = [optimizer.worker.adopt(reply, at, ())[0] for reply, at in zip(update.replies, stands, strict=True)]
    return np.array(moved), update.center


WHERE = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def test_without_gradients_an_elastic_exchange_contracts_by_known_factors() -> None:
    n, alpha, center = len(WHERE), 0.15, jnp.ones(3)
    x, moved = exchanged(easgd(rho=3, elastic_learning_rate=alpha / 3), WHERE, center)
    towards = (1 - alpha - n * alpha) * (WHERE.mean(axis=0) - center)
    np.testing.assert_allclose(x.mean(axis=0) - moved, towards, rtol=1e-5)
    np.testing.assert_allclose(x - x.mean(axis=0), (1 - alpha) * (WHERE - WHERE.mean(axis=0)), rtol=1e-4)


def test_where_workers_and_center_are_equal_an_elastic_exchange_moves_nobody() -> None:
    x, center = exchanged(easgd(**ELASTIC), np.tile(WHERE[0], (4, 1)), jnp.asarray(WHERE[0]))
    assert np.array_equal(x, np.tile(WHERE[0], (4, 1)))
    assert np.array_equal(center, WHERE[0])


def test_full_elasticity_swaps_worker_and_center() -> None:
    x, center = exchanged(aeasgd(rho=1, elastic_learning_rate=1), WHERE[:1], jnp.ones(3))
    np.testing.assert_allclose(center, WHERE[0], rtol=1e-6)
    np.testing.assert_allclose(x, np.ones((1, 3)), rtol=1e-6)


def test_an_elastic_exchange_of_1_over_n_for_the_center_and_then_1_for_the_workers_is_averaging() -> None:
    who, ends, start = jnp.arange(4), jnp.asarray(WHERE), jnp.ones(3)
    commits = Commits(who, 0 * who, ends, jnp.tile(start, (4, 1)))
    center = easgd(rho=1, elastic_learning_rate=1 / 4).server.update(commits, (), start).center
    np.testing.assert_allclose(center, averaging().server.update(commits, (), start).center, rtol=1e-5)
    for end in ends:
        there, _ = pulling(1.0).adopt((), Window(start, end, jnp.int32(1), center=center), ())
        np.testing.assert_allclose(there, center, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adag", slow("aeasgd"), slow("averaging")])
def test_replaying_a_recorded_order_gives_the_same_bits(optimizer: str, tmp_path: Path) -> None:
    common = [f"optimizer={optimizer}", "optimizer.window=4", "workers=3", "epochs=1", "evaluate.points=3"]
    common += ["model.hidden=[8]", "model.dropout=0.2", f"output={tmp_path}"]
    first = distopt.run([*common, "launcher=sim", "launcher.width=1"])
    second = distopt.run([*common, "launcher=replay", f"launcher.trace={first.folder}"])
    with np.load(first.folder / "model.npz") as a, np.load(second.folder / "model.npz") as b:
        assert all(np.array_equal(a[name], b[name]) for name in a.files)
    order = ["update", "worker", "staleness", "steps", "loss", "commit_norm", "distance"]
    assert first.commits[order].equals(second.commits[order])
