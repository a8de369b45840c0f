"""Model averaging with an optimizer at the server: FedOpt, SlowMo, DiLoCo, and asynchronous DiLoCo."""

import numpy as np
import pytest

from distopt.optimizers.async_diloco import async_diloco
from distopt.optimizers.diloco import diloco
from distopt.optimizers.fedopt import fedopt
from distopt.optimizers.slowmo import slowmo
from distopt.rules import BARRIER, DistributedOptimizer
from tests.optimizers.tools import array, centers, equal, follow, server
from tests.small import BOOTH, SGD

MEAN = slowmo(momentum=0, learning_rate=1)  # model averaging
BOTH = ([0, 1], [0, 0])
SERVER = {"learning_rate": 0.5, "b1": 0.5, "b2": 0.75, "eps": 1.0, "initial_accumulator_value": 4.0}
FROZEN = {"name": "adam", "learning_rate": 1, "b1": 0, "b2": 1, "eps": 1e-12, "initial_accumulator_value": 1.0}


@pytest.mark.parametrize("optimizer", [diloco(learning_rate=1, momentum=0), fedopt(server=FROZEN)])
def test_an_outer_optimizer_that_does_nothing_gives_averaging(optimizer: DistributedOptimizer) -> None:
    np.testing.assert_allclose(follow(optimizer, [0, 1, 2] * 4), follow(MEAN, [0, 1, 2] * 4), rtol=1e-5)
    assert optimizer.synchrony == BARRIER


def test_slowmo_without_momentum_is_averaging() -> None:
    slow = centers("slowmo", [0, 1, 2] * 4, window=3, settings={"momentum": 0.0, "learning_rate": 1.0})
    np.testing.assert_allclose(slow, centers("averaging", [0, 1, 2] * 4, window=3), rtol=1e-5)


@pytest.mark.parametrize(("optimizer", "local"), [("slowmo", "momentum"), ("diloco", "nesterov")])
def test_one_worker_with_window_1_has_the_momentum_of_the_local_optimizer(optimizer: str, local: str) -> None:
    settings = {"momentum": 0.8, "learning_rate": 1.0}
    outer = centers(optimizer, [0] * 12, workers=1, settings=settings)
    inner = SGD | {"name": local, "momentum": 0.8}
    np.testing.assert_allclose(outer, centers("sequential", [0] * 12, workers=1, local=inner), rtol=1e-4, atol=1e-6)


def test_slowmo_by_hand() -> None:
    first, second = server(slowmo(momentum=0.5, learning_rate=2), array(10), (*BOTH, [[1], [3]]), (*BOTH, [[0], [2]]))
    equal(first.center, 10 + 2 * 2)
    equal(second.center, 14 + 2 * (0.5 * 2 + 1))


def test_diloco_by_hand() -> None:
    first, second = server(diloco(learning_rate=0.5, momentum=0.8), array(10), (*BOTH, [[1], [3]]), (*BOTH, [[0], [2]]))
    equal(first.center, 10 + 0.5 * (2 + 0.8 * 2))
    equal(second.center, first.center[0] + 0.5 * (1 + 0.8 * (0.8 * 2 + 1)))


@pytest.mark.parametrize(
    ("name", "v"),
    [("adam", 0.75 * 4 + 0.25 * 9), ("yogi", 4 + 0.25 * 9), ("adagrad", 4 + 9)],
)
def test_fedopt_by_hand_without_correction_of_bias(name: str, v: float) -> None:
    (update,) = server(fedopt(server=SERVER | {"name": name}), array(10), (*BOTH, [[2], [4]]))
    equal(update.center, 10 + 0.5 * (0.5 * 3) / (v**0.5 + 1))


def test_yogi_lowers_a_second_moment_that_is_too_large_additively() -> None:
    (update,) = server(fedopt(server=SERVER | {"name": "yogi"}), array(10), (*BOTH, [[1], [1]]))
    equal(update.center, 10 + 0.5 * 0.5 / ((4 - 0.25) ** 0.5 + 1))


def test_delayed_nesterov_of_every_commit_is_nesterov() -> None:
    delayed = async_diloco(learning_rate=0.5, momentum=0.8, period=1, spread=0)
    alone = follow(diloco(learning_rate=0.5, momentum=0.8), [0] * 6, workers=1)
    np.testing.assert_allclose(follow(delayed, [0] * 6, workers=1), alone, rtol=1e-5)


@pytest.mark.parametrize("spread", [0, 1])
def test_delayed_nesterov_of_two_commits_by_hand(spread: float) -> None:
    updates = [([i % 2], [1], [[message]]) for i, message in enumerate([1, 3, 5, 7])]
    optimizer = async_diloco(learning_rate=0.5, momentum=0.8, period=None, spread=spread)  # 2 workers: N = 2
    first, second, third, fourth = server(optimizer, array(10), *updates)
    velocity = (1 + 3) / 2
    now, between = 1 - spread + spread / 2, spread / 2  # the part of the momentum's step
    equal(first.center, 10 + 0.5 * 1 / 2)
    equal(second.center, first.center[0] + 0.5 * (now * 0.8 * velocity + 3 / 2))
    equal(third.center, second.center[0] + 0.5 * (between * 0.8 * velocity + 5 / 2))
    velocity = 0.8 * velocity + (5 + 7) / 2
    equal(fourth.center, third.center[0] + 0.5 * (now * 0.8 * velocity + 7 / 2))


def test_asynchronous_diloco_trains_many_workers() -> None:
    settings = {"learning_rate": 0.7, "momentum": 0.5, "period": None, "spread": 0.5}
    path = centers("async_diloco", [0, 1, 2] * 40, window=5, model=BOOTH, settings=settings)
    np.testing.assert_allclose(path[-1], [1, 3], atol=0.05)  # the minimum
