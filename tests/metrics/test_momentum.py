"""Implicit momentum of asynchronous gradient descent on a quadratic, in the orders that virtual time gives."""

from itertools import islice

import numpy as np
import pytest

from distopt.cluster import Cluster, Law, Workload, schedule
from distopt.metrics.momentum import implicit_momentum
from distopt.rules import Synchrony

CURVATURES = np.array([0.5, 1.0])


def centers(workers: int, law: str, runs: int, learning_rate: float = 0.1, groups: int | None = None) -> np.ndarray:
    """The center after every update of window 1, shape (runs, updates + 1, 2): of Downpour, or of compute groups."""
    updates, quorum, paths = 10 * (groups or workers), workers if groups else 1, []
    for seed in range(runs):
        load = Workload(workers, 1, np.full(workers, 2**31 - 1), Synchrony(quorum, groups), seed=seed)
        path, pulled = [np.ones(2)], np.ones((workers, 2))
        for update in islice(schedule(Cluster(Law(1.0, law)), load), updates):
            who = [commit.worker for commit in update.commits]
            path.append(path[-1] - learning_rate * CURVATURES * pulled[who].mean(axis=0))
            pulled[who] = path[-1]
        paths.append(path)
    return np.array(paths)


@pytest.mark.parametrize("workers", [4, 8, 16])
def test_with_exponential_step_times_it_is_1_less_1_over_n(workers: int) -> None:
    paths = centers(workers, "exponential", runs=100)
    found = implicit_momentum(paths, paths * CURVATURES)
    assert found.momentum.value == pytest.approx(1 - 1 / workers, abs=0.03)
    assert found.momentum.low < 1 - 1 / workers < found.momentum.high
    assert found.momentum.high - found.momentum.low < 0.2
    assert found.learning_rate.value == pytest.approx(0.1 / workers, rel=0.15)


def test_groups_that_wait_inside_have_less_than_1_less_1_over_g() -> None:
    """A group takes as long as the slowest of its workers, which varies less than an exponential time."""
    paths = centers(16, "exponential", runs=100, groups=4)
    found = implicit_momentum(paths, paths * CURVATURES)
    assert found.momentum.value == pytest.approx(0.714, abs=0.02)
    assert found.momentum.high < 1 - 1 / 4


def test_one_worker_has_none() -> None:
    paths = centers(1, "exponential", runs=3)
    found = implicit_momentum(paths, paths * CURVATURES)
    assert found.momentum.value == pytest.approx(0, abs=1e-9)
    assert found.learning_rate.value == pytest.approx(0.1)


def test_explicit_momentum_is_found_exactly() -> None:
    path = [np.ones(2), np.ones(2)]
    for _ in range(30):
        path.append(path[-1] + 0.6 * (path[-1] - path[-2]) - 0.05 * CURVATURES * path[-1])
    paths = np.array([path] * 3)
    found = implicit_momentum(paths, paths * CURVATURES)
    assert [interval.value for interval in found] == pytest.approx([0.6, 0.05])
    assert found.momentum.high - found.momentum.low < 1e-9


@pytest.mark.parametrize(("runs", "updates"), [(2, 20), (5, 2), (5, 20)])
def test_what_does_not_tell_is_not_available(runs: int, updates: int) -> None:
    paths = np.ones((runs, updates + 1, 2))  # a center that never moves, or too little of one
    assert np.isnan(implicit_momentum(paths, 0 * paths).momentum).all()
    paths[0, -1] = np.inf
    assert np.isnan(implicit_momentum(paths, paths).momentum).all()
