"""The single writer: versions, staleness, quorum, order, duplicates, the end of workers, divergence."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from distopt.metrics import staleness
from distopt.optimizers.downpour import downpour
from distopt.optimizers.parts import additive
from distopt.rules import ALL, Commits, DistributedOptimizer, ServerRule, Synchrony, Update
from distopt.training.messages import Delivery, Diverged, Misfit
from distopt.training.server import Server

FIRST_ONLY = {0: [100.0], 1: [10.0], 2: [1.0]}


def server(quorum: int = 1, workers: int = 3, optimizer: DistributedOptimizer | None = None) -> Server:
    rules = optimizer or downpour()
    rules = rules._replace(synchrony=rules.synchrony._replace(quorum=quorum))
    return Server(rules, jnp.zeros(1), workers)


def commit(worker: int, sequence: int = 1, message: float | None = None, **other: Any) -> Delivery:
    """Worker k's message is 100, 10 or 1 unless told."""
    values = FIRST_ONLY[worker] if message is None else [message]
    measured = {"loss": other.pop("loss", 1.0), "accuracy": 0.5}
    fields = {"steps": 5, "samples": 160, "measured": measured, "compute_s": 0.1, "exchange_s": 0.0}
    fields |= {"bytes_up": 4, "last": False} | other
    return Delivery(worker, sequence, jnp.array(values, jnp.float32), **fields)


def rows(it: Server, delivery: Delivery) -> list[dict[str, Any]]:
    return it.rows(it.deliver(delivery))


def test_staleness_counts_the_updates_since_the_pull() -> None:
    it, sequence, staleness = server(), [0, 0, 0], []
    for worker in [0, 0, 1, 2, 1, 0]:
        sequence[worker] += 1
        [row] = rows(it, commit(worker, sequence[worker]))
        staleness.append(row["staleness"])
    assert staleness == [0, 0, 2, 3, 1, 3]
    assert it.version == 6


def test_staleness_of_commits_and_of_windows_under_way_adds_up() -> None:
    """Every update ages the n − 1 other windows by one: Σ τ + Σ ages = T (n − 1), at any speeds."""
    it, n, sequence = server(workers=4, optimizer=downpour()), 4, [0] * 4
    order = np.random.default_rng(0).choice(n, size=50, p=[0.7, 0.2, 0.07, 0.03])
    total = 0
    for worker in order:
        sequence[worker] += 1
        total += rows(it, commit(int(worker), sequence[worker], message=1.0))[0]["staleness"]
    ages = sum(it.version - version for version in it.admission.pulled)
    assert total + ages == len(order) * (n - 1)


def test_distance_is_measured_from_the_pulled_center() -> None:
    it = server()
    assert rows(it, commit(0))[0]["distance"] == 0
    assert rows(it, commit(1))[0]["distance"] == 100
    assert rows(it, commit(0, 2))[0]["distance"] == 10
    assert rows(it, commit(0, 3))[0]["commit_norm"] == 100


def test_a_pull_without_a_commit_is_fresh() -> None:
    it = server()
    it.deliver(commit(0))
    assert float(it.pull(1)[0]) == 100
    [row] = rows(it, commit(1))
    assert (row["staleness"], row["distance"]) == (0, 0)


@pytest.mark.parametrize("quorum", [1, ALL])
def test_staleness_counts_from_the_last_answer(quorum: int) -> None:
    it = server(quorum, workers=1, optimizer=downpour(fetch=3))
    found = []
    for sequence in range(1, 6):
        applied = it.deliver(commit(0, sequence))
        assert (0 in applied.replies) == (sequence == 3)
        found += [(row["staleness"], row["distance"]) for row in it.rows(applied)]
    assert found == [(0, 0), (1, 100), (2, 200), (0, 0), (1, 100)]


@pytest.mark.parametrize(("quorum", "needed"), [(1, 1), (2, 2), (3, 3), (ALL, 3)])
def test_an_update_waits_for_its_quorum(quorum: int, needed: int) -> None:
    it = server(quorum)
    for worker in range(needed - 1):
        assert it.deliver(commit(worker)) is None
        assert it.version == 0
    applied = it.deliver(commit(needed - 1))
    assert applied.version == it.version == 1
    assert set(applied.replies) == set(range(needed))
    assert float(it.center[0]) == sum(FIRST_ONLY[worker][0] for worker in range(needed))


def test_commits_of_one_update_are_ordered_by_worker_not_by_arrival() -> None:
    def first_message(commits: Commits, state: Any, center: Any) -> Update:
        return Update(commits.message[0], state, replies=commits.message)

    rules = downpour()._replace(server=ServerRule(lambda center, workers: (), first_message))
    it = server(ALL, optimizer=rules)
    it.deliver(commit(2))
    it.deliver(commit(0))
    applied = it.deliver(commit(1))
    assert [row["worker"] for row in it.rows(applied)] == [0, 1, 2]
    assert float(it.center[0]) == 100
    assert {worker: reply.tolist() for worker, reply in applied.replies.items()} == FIRST_ONLY


def test_a_commit_counts_once_however_often_it_is_sent() -> None:
    it = server(quorum=2)
    assert it.deliver(commit(0)) is None
    assert it.deliver(commit(0)) is None
    it.deliver(commit(1))
    assert float(it.center[0]) == 110
    for worker in (0, 1):
        assert it.deliver(commit(worker)) is None
    assert (it.version, float(it.center[0]), it.pending) == (1, 110, {})
    assert float(it.replies[0][0]) == 110


def test_the_barrier_shrinks_when_workers_are_done() -> None:
    it = server(ALL)
    it.deliver(commit(0, last=True))
    it.deliver(commit(1))
    assert it.deliver(commit(2)).version == 1
    assert it.deliver(commit(2, 2, last=True)) is None
    assert it.deliver(commit(1, 2)).version == 2
    assert it.deliver(commit(1, 3, last=True)).version == 3
    assert it.active == set()


@pytest.mark.parametrize("broken", [{"message": np.nan}, {"message": np.inf}, {"loss": np.nan}, {"loss": np.inf}])
def test_what_is_not_finite_is_not_applied(broken: dict[str, float]) -> None:
    it = server()
    it.deliver(commit(0))
    with pytest.raises(Diverged, match=r"update 2: .* from worker 1"):
        rows(it, commit(1, **broken))
    assert (it.version, float(it.center[0])) == (1, 100)


def test_warming_up_changes_nothing() -> None:
    counting = additive(fold=lambda commits: commits.message[0] + 1)
    it = server(optimizer=downpour()._replace(server=counting))
    it.warm_up(jnp.zeros(1))
    assert (it.version, float(it.center[0])) == (0, 0)
    assert it.deliver(commit(0)).version == 1


def test_a_rule_may_start_from_states_that_share_arrays_with_the_center() -> None:
    def update(commits: Commits, state: Any, center: Any) -> Update:
        first, same = state
        return Update(center + commits.message[0], (first + 1, same))

    rule = ServerRule(lambda center, workers: (center, center), update)
    it = server(optimizer=downpour()._replace(server=rule))
    for sequence in (1, 2):
        it.deliver(commit(0, sequence))
    assert float(it.center[0]) == 200
    assert [float(part[0]) for part in it.state] == [2, 0]


def guarded(quorum: int = 1, workers: int = 3) -> Server:
    return Server(downpour()._replace(synchrony=Synchrony(quorum)), jnp.zeros(1), workers, guarded=True)


BAD = pytest.mark.parametrize(
    "bad", [{"message": np.nan}, {"message": -np.inf}, {"loss": np.inf}, {"flaw": "it is odd"}]
)


@BAD
def test_a_guarded_server_refuses_what_is_not_finite_and_goes_on(bad: dict[str, Any]) -> None:
    it = guarded()
    assert [row["refused"] for row in rows(it, commit(0))] == [0]
    head = commit(1, **bad)
    applied = it.deliver(head._replace(message=None) if head.flaw else head)
    assert applied
    [row] = it.rows(applied)
    assert (row["worker"], row["refused"], row["staleness"], row["update"]) == (1, 1, 1, 2)
    assert (applied.refused, float(applied.replies[1][0]), it.refused) == ((1,), 100.0, {1})
    assert (float(it.center[0]), it.version) == (100.0, 2)
    assert it.deliver(head) is None, "the same commit again"
    [row] = rows(it, commit(1, 2))
    assert (row["refused"], row["staleness"], float(it.center[0]), it.refused) == (0, 0, 110.0, set())


def test_a_refused_commit_keeps_its_place_in_a_quorum() -> None:
    it = guarded(quorum=ALL)
    assert it.deliver(commit(2)) is None
    assert it.deliver(commit(0, message=np.nan)) is None
    applied = it.deliver(commit(1))
    assert applied
    assert {worker: float(reply[0]) for worker, reply in applied.replies.items()} == {0: 11.0, 1: 11.0, 2: 11.0}
    assert [row["refused"] for row in it.rows(applied)] == [1, 0, 0]
    assert [np.isnan(row["commit_norm"]) for row in it.rows(applied)] == [True, False, False]


def test_finite_commits_that_spoil_the_center_are_refused() -> None:
    doubling = ServerRule(lambda center, workers: (), lambda commits, state, center: Update(2 * center, state))
    it = Server(downpour()._replace(server=doubling), jnp.full(1, 1e38), 3, guarded=True)
    told = [(row["refused"], row["commit_norm"]) for worker in range(3) for row in rows(it, commit(worker))]
    assert told == [(0, 100.0), (1, 10.0), (1, 1.0)]
    assert (float(it.center[0]), it.version) == (np.float32(2e38), 3)


def test_a_commit_of_another_shape_ends_training_unless_the_server_is_guarded() -> None:
    with pytest.raises(Misfit, match="update 1: commit 1 of worker 2 is refused: it is odd"):
        server().deliver(commit(2, flaw="it is odd"))


def test_a_refused_commit_counts_as_an_answer_where_answers_are_rare() -> None:
    optimizer = downpour(fetch=2)
    it = Server(optimizer, jnp.zeros(1), 2, guarded=True)
    deliveries = [commit(0, 1, math.nan), commit(1, 1), commit(0, 2), commit(0, 3), commit(1, 2), commit(0, 4)]
    found = pd.DataFrame([row for delivery in deliveries for row in rows(it, delivery)])
    assert found["staleness"].tolist() == [0, 1, 1, 0, 4, 2]
    assert staleness.contradictions(found, fetch=2) == 0


def test_a_commit_that_is_dropped_as_late_is_not_refused() -> None:
    it = Server(downpour()._replace(synchrony=Synchrony(max_staleness=0)), jnp.zeros(1), 2, guarded=True)
    it.deliver(commit(0, 1, math.nan))
    assert it.refused == {0}
    it.deliver(commit(1, 1))
    it.deliver(commit(0, 2))
    it.deliver(commit(1, 2))
    it.deliver(commit(0, 3))
    assert it.refused == set()


def test_workers_of_several_groups_that_are_lost_at_once_make_updates_of_their_own() -> None:
    it = Server(downpour()._replace(synchrony=Synchrony(ALL, groups=2)), jnp.zeros(1), 6)
    for worker in (0, 1, 4, 5):
        assert it.deliver(commit(worker, message=1.0)) is None
    found = pd.DataFrame([row for applied in it.lose([2, 3]) for row in it.rows(applied)])
    assert found["update"].tolist() == [1, 1, 2, 2]
    assert staleness.contradictions(found) == 0
