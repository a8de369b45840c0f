from itertools import islice

import numpy as np
import pytest

from distopt.cluster import Cluster, Draws, Law, Link, Workload, schedule
from distopt.errors import ConfigError
from distopt.synchrony import ALL, BARRIER, Synchrony
from distopt.windows import Planned, WhenFree

EXACT = Cluster(Law(1.0))
NOISY = Cluster(
    Law(1.0, "gamma", 0.5),
    server=Law(0.2, "exponential"),
    up=Link(0.1, 100.0),
    down=Link(0.05, 200.0),
    spread=0.4,
    straggler_chance=0.1,
    straggler_factor=3.0,
)


def load(workers=4, window=3, steps=30, **others):
    declared = {name: others.pop(name) for name in Synchrony._fields if name in others}
    return Workload(workers, window, np.broadcast_to(np.int64(steps), workers), Synchrony(**declared), **others)


def by_worker(updates, field):
    values = {}
    for update in updates:
        for commit in update.commits:
            values.setdefault(commit.worker, []).append(getattr(commit, field))
    return values


def test_equal_workers_commit_in_turn_and_ties_go_by_worker():
    updates = list(schedule(EXACT, load(workers=3, window=2, steps=4)))
    assert [update.commits[0].worker for update in updates] == [0, 1, 2, 0, 1, 2]
    assert [update.time_s for update in updates] == [2, 2, 2, 4, 4, 4]


@pytest.mark.parametrize("quorum", [1, 3, ALL])
def test_every_worker_takes_its_budget_in_windows_with_a_short_tail(quorum):
    steps = np.array([7, 0, 6, 1])
    updates = list(schedule(NOISY, Workload(4, 3, steps, Synchrony(quorum))))
    assert by_worker(updates, "steps") == {0: [3, 3, 1], 2: [3, 3], 3: [1]}


def test_a_barrier_shrinks_to_the_workers_that_have_steps_left():
    updates = list(schedule(EXACT, Workload(3, 1, np.array([1, 3, 2]), BARRIER)))
    assert [[commit.worker for commit in update.commits] for update in updates] == [[0, 1, 2], [1, 2], [1]]


def test_the_first_k_commits_make_an_update_and_the_late_one_joins_the_next():
    cluster = Cluster(Law(1.0), straggler_workers=(0,), straggler_factor=1.5)
    updates = list(islice(schedule(cluster, load(workers=3, window=1, quorum=2)), 3))
    events = [(update.time_s, [commit.worker for commit in update.commits]) for update in updates]
    assert events == [(1, [1, 2]), (2, [0, 1]), (3, [1, 2])]


def test_a_barrier_takes_as_long_as_its_slowest_worker():
    cluster = NOISY._replace(server=Law(0.0), up=Link(), down=Link(), start_s=5.0)
    updates = list(schedule(cluster, load(workers=10, quorum=ALL)))
    slowest = [max(commit.compute_s for commit in update.commits) for update in updates]
    assert [update.time_s for update in updates] == pytest.approx((5 + np.cumsum(slowest)).tolist())


@pytest.mark.parametrize("cluster", [NOISY, NOISY._replace(failure_s=10.0, downtime_s=2.0, start_s=3.0)])
def test_times_add_up_when_the_server_is_instant(cluster):
    cluster = cluster._replace(server=Law(0.0))
    updates = list(schedule(cluster, load(bytes_up=50, bytes_down=40)))
    spent = dict.fromkeys(range(4), cluster.start_s)
    for update in updates:
        (commit,) = update.commits
        spent[commit.worker] += commit.exchange_s + commit.compute_s
        assert update.time_s == pytest.approx(spent[commit.worker] + 0.1 + 50 / 100)
        if not update.returned and commit.exchange_s and cluster.failure_s == float("inf"):
            assert commit.exchange_s == pytest.approx(0.1 + 50 / 100 + 0.05 + 40 / 200)


def test_the_server_works_on_one_commit_at_a_time():
    updates = list(schedule(NOISY._replace(server=Law(2.0)), load()))
    gaps = np.diff([update.time_s for update in updates])
    assert gaps.min() == pytest.approx(2.0)


def test_a_shared_port_carries_one_message_at_a_time_each_way():
    n, up, down, latency, work = 5, 0.4, 0.6, 0.1, 0.3
    cluster = Cluster(Law(1.0), Law(work), Link(latency, 10.0), Link(latency, 10.0), shared=True)
    updates = list(schedule(cluster, load(n, window=1, steps=2, quorum=ALL, bytes_up=4, bytes_down=6)))
    first = 1.0 + latency + n * up + work
    assert [update.time_s for update in updates] == pytest.approx(
        [first, first + n * down + latency + 1.0 + latency + up + work]
    )


def test_a_lone_worker_does_not_notice_whether_the_port_is_shared():
    one = load(workers=1, bytes_up=7, bytes_down=3)
    own, shared = (
        [update.time_s for update in schedule(NOISY._replace(shared=shared), one)] for shared in (False, True)
    )
    assert own == pytest.approx(shared)


def test_backup_workers_make_a_permanent_straggler_cost_nothing():
    def times(workers, quorum, stragglers):
        cluster = NOISY._replace(straggler_workers=stragglers, straggler_factor=50.0, straggler_chance=0.0)
        updates = list(schedule(cluster, load(workers, quorum=quorum, max_staleness=0, whole=True)))
        assert all(len(update.commits) == 3 for update in updates)
        return [update.time_s for update in updates]

    assert len(times(4, 3, stragglers=(3,))) == 10
    assert times(4, 3, stragglers=(3,)) == times(3, 3, stragglers=())


def test_a_dropped_commit_costs_its_worker_a_window_and_the_server_nothing():
    cluster = Cluster(Law(1.0), server=Law(0.1), straggler_workers=(0,), straggler_factor=2.5)
    updates = list(schedule(cluster, load(workers=2, window=1, steps=5, max_staleness=1)))
    dropped = [(update, commit) for update in updates for commit in update.dropped]
    assert [(update.time_s, commit.worker, commit.staleness) for update, commit in dropped] == [
        (2.5, 0, 2),
        (5.0, 0, 2),
    ]
    assert all(commit.server_s == 0 and not update.commits for update, commit in dropped)
    assert sum(len(update.commits) + len(update.dropped) for update in updates) == 10


def test_a_bound_of_0_is_a_barrier_and_a_large_one_changes_nothing():
    free, loose, tight = (list(schedule(NOISY, load(steps=60, bound=bound))) for bound in (None, 20, 0))
    assert loose == free
    assert [{update.commits[0].worker for update in tight[i : i + 4]} for i in range(0, 80, 4)] == [{0, 1, 2, 3}] * 20


@pytest.mark.parametrize("bound", [1, 4])
def test_a_worker_that_is_too_far_ahead_begins_when_the_slowest_has_committed(bound):
    cluster = Cluster(Law(1.0), straggler_workers=(0,), straggler_factor=4.0)
    updates = list(schedule(cluster, load(workers=2, window=1, steps=12, bound=bound)))
    done = [0, 0]
    for update in updates:
        done[update.commits[0].worker] += 1
        assert done[1] - done[0] <= bound + 1 or done[0] == 12
    assert sum(commit.exchange_s for commit in (u.commits[0] for u in updates) if commit.worker == 1) > 0


def test_groups_wait_inside_and_not_for_each_other():
    cluster = Cluster(Law(1.0), straggler_workers=(3,), straggler_factor=3.0)
    updates = list(islice(schedule(cluster, load(workers=4, window=1, quorum=ALL, groups=2)), 4))
    events = [(update.time_s, [commit.worker for commit in update.commits]) for update in updates]
    assert events == [(1, [0, 1]), (2, [0, 1]), (3, [0, 1]), (3, [2, 3])]
    assert [commit.staleness for commit in updates[3].commits] == [3, 3]


def test_the_same_seed_gives_the_same_events_and_another_seed_others():
    def events(seed):
        return list(schedule(NOISY, load(seed=seed)))

    assert events(1) == events(1)
    assert events(1) != events(2)


@pytest.mark.parametrize(
    "changed",
    [load(steps=900, seed=3, workers=9), load(steps=300, seed=3, quorum=ALL), load(steps=300, seed=3, bytes_up=10**4)],
)
def test_a_workers_draws_depend_on_nothing_but_seed_worker_and_window(changed):
    reference, other = (by_worker(schedule(NOISY, each), "compute_s") for each in (load(steps=300, seed=3), changed))
    for worker in range(4):
        assert other[worker][:100] == reference[worker]


def test_changing_one_part_of_the_cluster_leaves_the_other_draws_alone():
    steady = NOISY._replace(straggler_factor=1.0)
    reference = by_worker(schedule(steady, load()), "compute_s")
    assert by_worker(schedule(steady._replace(server=Law(9.0)), load()), "compute_s") == reference
    slowed = by_worker(schedule(NOISY, load(steps=300)), "compute_s")[0]
    ratios = np.array(slowed) / by_worker(schedule(steady, load(steps=300)), "compute_s")[0]
    assert set(ratios.round(9)) == {1.0, 3.0}
    assert (ratios > 2).mean() == pytest.approx(0.1, abs=0.08)


def test_spread_changes_how_fast_workers_are_not_how_fast_they_are_together():
    wide = Cluster(Law(1.0), spread=0.5)
    means = [commits[0] for commits in by_worker(schedule(wide, load(5000, 1, 1)), "compute_s").values()]
    assert np.mean(means) == pytest.approx(1.0, rel=0.03)
    assert np.std(means) == pytest.approx(0.5, rel=0.1)


def test_a_trace_is_followed_step_by_step():
    times = {0: np.array([1.0, 2.0, 4.0, 8.0]), 1: np.array([1.0, 1.0, 1.0, 1.0])}
    updates = schedule(Cluster(Law(2.4, "trace", 1.0), trace=times), load(workers=2, window=3, steps=4))
    assert by_worker(updates, "compute_s") == {0: [7, 8], 1: [3, 1]}


def test_budgets_without_an_end_are_drawn_as_they_are_needed():
    updates = schedule(NOISY, load(workers=2, steps=2**31 - 1))
    assert len(list(islice(updates, 500))) == 500


@pytest.mark.parametrize(
    ("cluster", "work", "words"),
    [
        (EXACT, load(window=0), "window=0"),
        (EXACT, load(quorum=0), "quorum=0"),
        (EXACT, load()._replace(workers=5), "shape"),
        (EXACT, load(steps=-1), "at least 0"),
        (EXACT._replace(straggler_workers=(1, 4)), load(), r"\[4\].*0 to 3"),
        (EXACT._replace(failure_s=0.1), load(), "hardly any window"),
        (EXACT._replace(trace={0: np.ones(30)}), load(workers=2), "0 steps of worker 1"),
        (EXACT._replace(trace={0: np.ones(29)}), load(workers=1), "29 steps of worker 0, the run needs 30"),
        (EXACT._replace(trace={0: np.ones(30), 1: np.ones(30)}), load(workers=1), r"\[1\]"),
    ],
)
def test_what_cannot_run_is_refused_before_the_first_event(cluster, work, words):
    with pytest.raises(ConfigError, match=words):
        schedule(cluster, work)


def post_local(window, sequence, speed):
    return 1 if sequence <= 2 else max(1, int(window * speed))


def test_windows_have_the_lengths_that_the_rule_gives():
    cluster = EXACT._replace(straggler_workers=(1,), straggler_factor=2.0)
    updates = list(schedule(cluster, load(workers=2, window=4, steps=10, until=Planned(post_local))))
    assert by_worker(updates, "steps") == {0: [1, 1, 4, 4], 1: [1, 1, 2, 2, 2, 2]}
    assert by_worker(updates, "compute_s") == {0: [1, 1, 4, 4], 1: [2, 2, 4, 4, 4, 4]}


def test_speeds_are_relative_to_the_fastest_worker():
    cluster = EXACT._replace(straggler_workers=(1,), straggler_factor=2.0)
    assert Draws(cluster, load(workers=3, until=Planned(post_local))).speeds == [1, 0.5, 1]
    chance = cluster._replace(straggler_chance=0.5)
    assert Draws(chance, load(workers=3, until=Planned(post_local))).speeds == [1, 0.75, 1]


@pytest.mark.parametrize("cluster", [NOISY, NOISY._replace(failure_s=10.0)])
def test_windows_are_asked_for_when_they_begin_and_after_what_happened_before(cluster):
    taken, begun = [], []

    def steps_of(worker):
        lost = begun.count(worker) - sum(commit.worker == worker for update in taken for commit in update.commits)
        assert lost == sum(update.returned.count(worker) for update in taken)
        begun.append(worker)
        return 2

    for update in schedule(cluster, load(steps=8, quorum=2), steps_of):
        taken.append(update)
    assert by_worker(taken, "steps") == dict.fromkeys(range(4), [2] * 4)


def test_a_zealous_worker_goes_on_while_the_server_is_busy():
    updates = list(
        islice(schedule(EXACT._replace(server=Law(2.5)), load(workers=1, window=4, steps=9, until=WhenFree())), 9)
    )
    assert by_worker(updates, "steps") == {0: [1] * 9}  # it has no one to wait for
    updates = list(schedule(EXACT._replace(server=Law(2.5)), load(workers=2, window=4, steps=9, until=WhenFree())))
    assert by_worker(updates, "steps") == {0: [1, 3, 3, 2], 1: [4, 3, 2]}


@pytest.mark.parametrize(("alone", "led"), [(3, 3), (100, 30)])
def test_one_worker_trains_alone_before_the_others_start_from_the_center(alone, led):
    updates = list(schedule(NOISY, load(window=1, start_after=alone)))
    assert all(update.commits[0].worker == 0 for update in updates[:led])
    assert updates[led].returned == (1, 2, 3)
    assert sum(commit.steps for update in updates for commit in update.commits) == 4 * 30
    assert all(commits[0] > updates[led - 1].time_s - 1 for k, commits in by_worker(updates, "exchange_s").items() if k)
