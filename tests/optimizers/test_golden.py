"""Each rule on numbers small enough to check by hand: two workers, one or two parameters."""

from typing import Any

import numpy as np
import optax
import pytest

from distopt.optimizers.adag import adag
from distopt.optimizers.aeasgd import aeasgd
from distopt.optimizers.agn import agn
from distopt.optimizers.averaging import averaging
from distopt.optimizers.downpour import downpour
from distopt.optimizers.dynsgd import dynsgd
from distopt.optimizers.easgd import easgd
from distopt.optimizers.sequential import sequential
from distopt.optimizers.synchronous import synchronous
from distopt.rules import BARRIER, DistributedOptimizer, Steps
from tests.optimizers.tools import array, equal, server, window


@pytest.mark.parametrize("optimizer", [sequential(), downpour(), dynsgd()])
def test_delta_workers_send_what_the_window_changed(optimizer: DistributedOptimizer) -> None:
    message, _ = optimizer.worker.commit(window(array(1, 2), array(0.5, 3), steps=4), ())
    equal(message, 0.5 - 1, 3 - 2)


@pytest.mark.parametrize("optimizer", [agn(), adag(gamma=1.0)])
def test_normalizing_workers_send_the_mean_step(optimizer: DistributedOptimizer) -> None:
    message, _ = optimizer.worker.commit(window(array(1, 2), array(0.5, 3), steps=4), ())
    equal(message, (0.5 - 1) / 4, (3 - 2) / 4)


@pytest.mark.parametrize(
    "optimizer", [averaging(), easgd(rho=1, elastic_learning_rate=1), aeasgd(rho=1, elastic_learning_rate=1)]
)
def test_averaging_workers_send_their_parameters(optimizer: DistributedOptimizer) -> None:
    message, _ = optimizer.worker.commit(window(array(1, 2), array(0.5, 3), steps=4), ())
    equal(message, 0.5, 3)


def test_synchronous_workers_send_the_mean_gradient() -> None:
    worker = synchronous(local=optax.sgd(0.1)).worker
    message, _ = worker.commit(window(array(1, 2), array(1, 2), steps=4, gradient=array(8, -2)), ())
    equal(message, 8 / 4, -2 / 4)
    assert worker.steps == Steps("gradients")


@pytest.mark.parametrize(
    "optimizer",
    [sequential(), synchronous(local=optax.sgd(0.1)), averaging(), downpour(), dynsgd(), agn(), adag(gamma=1.0)],
)
def test_workers_go_on_from_the_center(optimizer: DistributedOptimizer) -> None:
    params, _ = optimizer.worker.adopt(array(7, 8), window(array(1, 2), array(3, 4), steps=1), ())
    equal(params, 7, 8)


@pytest.mark.parametrize("make", [easgd, aeasgd])
def test_elastic_workers_go_on_from_where_they_are_less_the_difference(make: Any) -> None:
    optimizer = make(rho=5, elastic_learning_rate=0.1)
    params, _ = optimizer.worker.adopt(array(0.5, -1), window(array(1, 2), array(3, 4), steps=1), ())
    equal(params, 3 - 0.5, 4 + 1)


@pytest.mark.parametrize("optimizer", [sequential(), downpour(), agn()])
def test_additive_servers_add_the_message(optimizer: DistributedOptimizer) -> None:
    first, second = server(optimizer, array(10, 20), ([0], [0], [[1, -2]]), ([1], [1], [[3, 4]]))
    equal(first.center, 10 + 1, 20 - 2)
    equal(second.center, 11 + 3, 18 + 4)
    assert second.replies is None


def test_dynsgd_divides_by_staleness_plus_one() -> None:
    first, second = server(dynsgd(), array(10, 20), ([0], [0], [[1, -2]]), ([1], [3], [[2, 8]]))
    equal(first.center, 10 + 1 / (0 + 1), 20 - 2 / (0 + 1))
    equal(second.center, 11 + 2 / (3 + 1), 18 + 8 / (3 + 1))


def test_adag_damps_each_weight_by_how_far_it_moved_since_the_pull() -> None:
    first, second, third = server(
        adag(gamma=4.0), array(1, 10), ([0], [0], [[2, 0]]), ([1], [1], [[2, 6]]), ([1], [0], [[1, 1]])
    )
    # Worker 0 pulled [1, 10] and nothing has moved: s = 1.
    equal(first.center, 1 + 2, 10)
    # Worker 1 pulled [1, 10] too; the first weight is 2 away: s = 1 / (2² / 4 + 1) = 1/2, the second has not moved.
    equal(second.center, 3 + 2 / 2, 10 + 6)
    equal(second.metrics["scale_mean"], (1 / 2 + 1) / 2)
    equal(second.metrics["scale_min"], 1 / 2)
    # Worker 1 has pulled since, worker 0's copy does not matter: s = 1.
    equal(third.center, 4 + 1, 16 + 1)


def test_averaging_replaces_the_center_by_the_mean() -> None:
    (update,) = server(averaging(), array(100, 100), ([0, 1], [0, 0], [[1, 2], [3, -4]]))
    equal(update.center, (1 + 3) / 2, (2 - 4) / 2)


def test_easgd_pulls_center_and_workers_together_from_the_same_old_center() -> None:
    (update,) = server(easgd(rho=5, elastic_learning_rate=0.02), array(1, 0), ([0, 1], [0, 0], [[3, 1], [-4, 2]]))
    # α = 5 · 0.02 = 0.1;  E⁰ = 0.1 ([3, 1] − [1, 0]),  E¹ = 0.1 ([−4, 2] − [1, 0])
    np.testing.assert_allclose(update.replies, [[0.2, 0.1], [-0.5, 0.2]], rtol=1e-6)
    equal(update.center, 1 + 0.2 - 0.5, 0 + 0.1 + 0.2)


def test_aeasgd_meets_the_center_that_the_last_exchange_left() -> None:
    first, second = server(aeasgd(rho=5, elastic_learning_rate=0.02), array(1), ([0], [0], [[3]]), ([1], [1], [[-4]]))
    equal(first.center, 1 + 0.1 * (3 - 1))
    np.testing.assert_allclose(second.replies, [[0.1 * (-4 - 1.2)]], rtol=1e-6)
    equal(second.center, 1.2 + 0.1 * (-4 - 1.2))


def test_synchronous_passes_the_mean_gradient_through_the_optimizer_at_the_server() -> None:
    optimizer = synchronous(local=optax.sgd(0.5, momentum=0.9))
    first, second = server(
        optimizer, array(10, 10), ([0, 1], [0, 0], [[1, 0], [3, 2]]), ([0, 1], [0, 0], [[0, 1], [0, 1]])
    )
    # mean gradients [2, 1] and [0, 1]; momentum [2, 1], then 0.9 · [2, 1] + [0, 1] = [1.8, 1.9]
    equal(first.center, 10 - 0.5 * 2, 10 - 0.5 * 1)
    equal(second.center, 9 - 0.5 * 1.8, 9.5 - 0.5 * 1.9)


def test_quorums() -> None:
    barriers = [synchronous(local=optax.sgd(1.0)), averaging(), easgd(rho=1, elastic_learning_rate=1)]
    alone = [sequential(), downpour(), dynsgd(), aeasgd(rho=1, elastic_learning_rate=1), agn(), adag(gamma=1)]
    assert [optimizer.synchrony for optimizer in barriers] == [BARRIER] * 3
    assert [optimizer.synchrony.quorum for optimizer in alone] == [1] * 6
    assert sequential().workers == 1
