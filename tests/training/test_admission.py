"""Which commits make an update, which are dropped, and who waits: against the definitions, in random orders."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from distopt.synchrony import ALL, Synchrony
from distopt.training.admission import Admission, Verdict


def take(admission: Admission, *workers: int) -> list[Verdict]:
    return [admission.commit(worker) for worker in workers]


def random_order(admission: Admission, windows: list[int], seed: int) -> Iterator[tuple[int, Verdict]]:
    """Let workers that may commit do so in a random order until their windows are used up."""
    rng, left = np.random.default_rng(seed), list(windows)
    free = {worker for worker, number in enumerate(left) if number}
    while free:
        worker = int(rng.choice(sorted(free)))
        free.remove(worker)
        left[worker] -= 1
        verdict = admission.commit(worker, last=left[worker] == 0)
        free |= {k for k in verdict.released if left[k]}
        yield worker, verdict
    assert not any(left), "somebody waits for ever"


def test_a_commit_that_is_too_late_is_dropped_and_its_worker_starts_over_from_the_center() -> None:
    first, second, third, late, fresh = take(Admission(Synchrony(max_staleness=1), 3), 0, 0, 1, 2, 2)
    assert [verdict.late for verdict in (first, second, third, late, fresh)] == [None, None, 2, 2, None]
    assert (late.committers, late.released) == ((), (2,))
    assert (fresh.committers, fresh.staleness, fresh.released) == ((2,), (0,), (2,))


def test_training_is_over_when_too_few_for_a_whole_quorum_have_something_to_do() -> None:
    admission = Admission(Synchrony(quorum=2, whole=True), 3)
    admission.commit(0, last=True)
    assert admission.commit(1, last=True).committers == (0, 1)
    assert admission.over
    assert admission.commit(2).committers == ()  # one worker alone is no update
    admission.join(0)  # somebody has left work, and it goes on
    assert not admission.over
    assert admission.commit(0).committers == (0, 2)
    assert not Admission(Synchrony(quorum=2), 1).over


def test_workers_that_are_lost_make_a_whole_quorum_smaller() -> None:
    admission = Admission(Synchrony(quorum=3, whole=True), 4)
    admission.lose(3)
    assert take(admission, 0, 1)[1].committers == ()
    assert admission.lose(2).committers == (0, 1)
    assert not admission.over
    again = Admission(Synchrony(quorum=3, whole=True), 4)
    again.load(admission.save())
    assert take(again, 0, 1)[1].committers == (0, 1)
    again.commit(0, last=True)
    again.commit(1)
    assert again.over
    again.join(0)  # it takes over what is left
    assert not again.over


def test_who_was_done_when_lost_is_not_waited_for_either() -> None:
    admission = Admission(Synchrony(quorum=3, whole=True), 4)
    assert take(admission, 0, 2, 3)[2].committers == (0, 2, 3)
    admission.commit(0, last=True)
    assert take(admission, 2, 3)[1].committers == (0, 2, 3)
    take(admission, 2, 3)
    assert admission.lose(1) == Verdict()
    assert admission.lose(0).committers == (2, 3)
    assert not admission.over


def test_staleness_with_a_buffer_counts_moves_of_the_center() -> None:
    """The center moves with every second update: worker 1 is late from the second one on, not before."""
    assert take(Admission(Synchrony(max_staleness=0, period=2), 2), 0, 1)[1].late is None
    assert take(Admission(Synchrony(max_staleness=0, period=2), 2), 0, 0, 1)[2].late == 2


def test_the_last_worker_of_a_quorum_may_leave_with_a_commit_that_is_dropped() -> None:
    admission = Admission(Synchrony(quorum=2, max_staleness=0), 3)
    take(admission, 0, 1)
    admission.commit(0)
    verdict = admission.commit(2, last=True)  # late: it takes no part, and with it gone two are left
    assert (verdict.late, verdict.committers) == (1, ())
    admission = Admission(Synchrony(quorum=ALL, max_staleness=0), 2)
    take(admission, 0, 1)
    admission.pulled[1] = 0
    admission.commit(0)
    verdict = admission.commit(1, last=True)
    assert (verdict.late, verdict.committers, verdict.released) == (1, (0,), (0, 1))


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_nobody_starts_further_ahead_of_the_slowest_than_the_bound(bound: int) -> None:
    windows = [7, 4, 9, 7]
    admission = Admission(Synchrony(bound=bound), 4)
    done, running = [0] * 4, set(range(4))
    for worker, verdict in random_order(admission, windows, seed=bound):
        running.remove(worker)
        done[worker] += 1
        running |= set(verdict.released)
        slowest = min((n for n, most in zip(done, windows, strict=True) if n < most), default=0)
        training = [k for k in running if done[k] < windows[k]]
        assert all(done[k] - slowest <= bound for k in training)
        waiting = [k for k in admission.held if done[k] - slowest <= bound]
        assert waiting == [], "nobody waits without need"
        assert admission.pulled[worker] == admission.version or worker in admission.held
    assert admission.version == sum(windows)


def test_a_bound_of_0_lets_everybody_go_on_together() -> None:
    released = [verdict.released for verdict in take(Admission(Synchrony(bound=0), 3), 2, 0, 1, 1, 2, 0)]
    assert released == [(), (), (0, 1, 2)] * 2


def test_groups_wait_for_their_own_members_only() -> None:
    admission = Admission(Synchrony(quorum=ALL, groups=2), 5)  # 0 1 2 and 3 4
    verdicts = take(admission, 3, 0, 4, 2, 1, 4, 3)
    assert [verdict.committers for verdict in verdicts] == [(), (), (3, 4), (), (0, 1, 2), (), (3, 4)]
    assert [verdict.staleness for verdict in verdicts] == [(), (), (0, 0), (), (1, 1, 1), (), (1, 1)]
    admission.commit(3, last=True)
    admission.commit(4)
    assert admission.commit(4).committers == (4,)


@pytest.mark.parametrize(
    ("declared", "sizes", "together"),
    [
        ({}, [1], False),
        ({"quorum": 3}, [3], False),
        ({"quorum": ALL}, [5], True),
        ({"quorum": ALL, "groups": 1}, [5], True),
        ({"quorum": ALL, "groups": 2}, [2, 3], False),
        ({"quorum": 2, "groups": 2}, [2], False),
        ({"quorum": ALL, "groups": 9}, [1], False),
    ],
)
def test_quorums(declared: dict[str, Any], sizes: list[int], together: bool) -> None:
    assert Synchrony(**declared).quorums(5) == sizes
    assert Synchrony(**declared).barrier(5) == together


@pytest.mark.parametrize(
    "declared",
    [
        {"quorum": 3},
        {"quorum": ALL},
        {"quorum": ALL, "groups": 3},
        {"quorum": 2, "groups": 2},
        {"quorum": 3, "max_staleness": 0},
        {"max_staleness": 1, "period": 3},
        {"bound": 2, "max_staleness": 2},
    ],
)
def test_every_commit_is_applied_or_dropped_once(declared: dict[str, Any]) -> None:
    windows = [6, 3, 8, 1, 5]
    for seed in range(5):
        admission = Admission(Synchrony(**declared), 5)
        found = list(random_order(admission, windows, seed))
        fate = [worker for worker, verdict in found if verdict.late is not None]
        fate += [worker for _, verdict in found for worker in verdict.committers]
        assert np.bincount(fate).tolist() == windows
        assert admission.version == sum(bool(verdict.committers) for _, verdict in found)
        assert admission.active == set()
        assert "max_staleness" in declared or not any(verdict.late is not None for _, verdict in found)


def test_what_is_kept_does_not_grow_with_the_commits() -> None:
    admission = Admission(Synchrony(), 3)
    for i in range(3000):
        admission.commit(i % 3)
    sizes = [len(value) for value in vars(admission).values() if isinstance(value, dict | list | set)]
    assert max(sizes) <= 3


def test_a_worker_that_goes_on_after_its_last_commit_is_answered_at_the_same_numbers() -> None:
    admission = Admission(Synchrony(fetch=2), 2)
    take(admission, 0, 0, 1)
    admission.commit(0, last=True)
    admission.join(0)
    assert admission.pulled[0] == 2
    take(admission, 0)  # its fourth
    assert admission.pulled[0] == 5
