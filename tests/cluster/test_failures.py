import numpy as np
import pytest

from distopt.cluster import Cluster, Law, Link, Workload, predict, schedule
from distopt.synchrony import ALL, Synchrony

FAILING = Cluster(Law(1.0, "gamma", 0.2), up=Link(0.1), down=Link(0.2), failure_s=20.0, downtime_s=5.0)


def load(quorum=1, steps=200):
    return Workload(4, 5, np.full(4, steps), Synchrony(quorum), bytes_up=10, bytes_down=30)


@pytest.mark.parametrize("quorum", [1, 2, ALL])
def test_lost_windows_are_done_again(quorum):
    updates = list(schedule(FAILING, load(quorum)))
    assert sum(len(update.returned) for update in updates) > 10
    done = np.zeros(4, int)
    for update in updates:
        assert list(update.returned) == sorted(set(update.returned))
        for commit in update.commits:
            done[commit.worker] += commit.steps
    assert done.tolist() == [200] * 4


def test_a_return_is_told_with_the_first_update_after_it_and_costs_the_downtime():
    last = dict.fromkeys(range(4), 0.0)
    returned = dict.fromkeys(range(4), False)
    exchange_s = 0.1 + 0.2
    for update in schedule(FAILING, load()):
        for worker in update.returned:
            returned[worker] = True
            assert update.time_s - last[worker] >= FAILING.downtime_s
        (commit,) = update.commits
        first = last[commit.worker] == 0
        if returned[commit.worker]:
            assert commit.exchange_s > FAILING.downtime_s
        else:
            assert commit.exchange_s == pytest.approx(0 if first else exchange_s)
        last[commit.worker], returned[commit.worker] = update.time_s, False


def test_failures_come_at_their_rate():
    never = predict(FAILING._replace(failure_s=float("inf")), load(steps=5000))
    often = predict(FAILING._replace(failure_s=100.0), load(steps=5000))
    assert never["failures"] == 0
    assert often["failures"] == pytest.approx(4 * 5000 / 100, rel=0.2)
    assert often["time_s"] > never["time_s"]
    assert often["bytes_down"] == (often["commits"] + often["failures"]) * 30


def test_a_worker_that_returns_has_the_center_of_its_return():
    """The others go on while a worker is away: but for its pull, its next commit would be very stale."""
    away = FAILING._replace(downtime_s=1000.0, failure_s=300.0)
    without_pulls, pulled = [], [0] * 4
    for version, update in enumerate(schedule(away, load(steps=1000))):
        (commit,) = update.commits
        without_pulls.append(version - pulled[commit.worker])
        pulled[commit.worker] = version + 1
    found = predict(away, load(steps=1000))
    assert found["failures"] > 0
    assert max(without_pulls) > 100
    assert found["staleness_max"] < 20
