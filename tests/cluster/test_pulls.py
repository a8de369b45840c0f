"""The schedule of workers that pull before they commit, and of those that fetch more rarely than they commit."""

import numpy as np
import pytest

from distopt.cluster import Cluster, Law, Link, Workload, predict, schedule
from distopt.synchrony import ALL, Synchrony

NOISY = Cluster(Law(1.0, "gamma", 0.5), Law(0.2, "exponential"), Link(0.1, 100.0), Link(0.05, 200.0), spread=0.4)


def load(workers=4, steps=30, **others):
    declared = {name: others.pop(name) for name in Synchrony._fields if name in others}
    return Workload(workers, 3, np.full(workers, steps), Synchrony(**declared), **others)


def test_a_lone_worker_asks_gets_the_center_and_then_commits():
    cluster = Cluster(Law(1.0), Law(0.2), Link(0.1, 100.0), Link(0.05, 200.0))
    first, second = schedule(cluster, load(1, 6, bytes_up=50, bytes_down=0, bytes_center=40))
    pull, commit, reply = 0.1 + 0.05 + 40 / 200, 0.1 + 50 / 100 + 0.2, 0.05
    assert first.time_s == pytest.approx(3 + pull + commit)
    assert second.commits[0].exchange_s == pytest.approx(pull + commit + reply)
    assert [update.pulled for update in (first, second)] == [(0,), (0,)]


@pytest.mark.parametrize("quorum", [1, 2, ALL])
@pytest.mark.parametrize("shared", [False, True])
def test_every_commit_has_a_pull_before_it(quorum, shared):
    failing = NOISY._replace(failure_s=30.0, downtime_s=2.0, shared=shared)
    work = load(quorum=quorum, steps=90, bytes_up=50, bytes_center=400)
    pulled, between = {}, 0
    for version, update in enumerate(schedule(failing, work)):
        for worker in update.pulled:
            assert worker not in pulled
            pulled[worker] = version
        for commit in update.commits:
            between += version - pulled.pop(commit.worker)
    assert pulled == {}
    assert (between > 0) == (quorum != ALL)


def test_pulls_make_commits_fresher_and_bytes_are_those_of_both_answers():
    work = load(8, 300, bytes_up=50, bytes_down=70)
    plain, pulling = (predict(NOISY, each) for each in (work, work._replace(bytes_center=40)))
    assert pulling["staleness_mean"] < 0.6 * plain["staleness_mean"]
    assert (plain["bytes_down"], pulling["bytes_down"]) == (800 * 70, 800 * (70 + 40))


def test_durations_of_windows_do_not_depend_on_pulls():
    def windows(work):
        commits = [commit for update in schedule(NOISY, work) for commit in update.commits]
        return {k: [commit.compute_s for commit in commits if commit.worker == k] for k in range(4)}

    assert windows(load()) == windows(load(bytes_center=40)) == windows(load(fetch=3))


def test_what_is_not_answered_brings_nothing_down():
    cluster = Cluster(Law(1.0), down=Link(0.05, 200.0))
    work = load(1, 18, bytes_down=40, fetch=3)
    waits = [update.commits[0].exchange_s for update in schedule(cluster, work)]
    assert waits == pytest.approx([0, 0.05, 0.05, 0.05 + 40 / 200, 0.05, 0.05])
    found = predict(cluster, work)
    assert found["bytes_down"] == 2 * 40
    assert found["staleness_histogram"] == [2, 2, 2]
