"""Who may commit, and what workers go on with when others are gone: the server's side, without processes."""

import asyncio
import json
from collections import deque

import jax.numpy as jnp
import numpy as np
import pytest

from distopt.launchers.ray.local_state import Keepsakes
from distopt.launchers.ray.membership import Members, Place, Start
from distopt.launchers.ray.shared_memory import ALIGN
from distopt.rules import Synchrony
from distopt.training.messages import Delivery
from distopt.training.server import Server
from distopt.training.worker import Kept
from tests.small import experiment

BUDGET, WINDOW = [40, 40, 25], 10


def members(quorum: int = 1, keepsakes: Keepsakes | None = None) -> Members:
    rules = experiment("downpour", workers=3).optimizer._replace(synchrony=Synchrony(quorum))
    server = Server(rules, {"x": jnp.zeros(2)}, 3)
    kept = [] if keepsakes is None else [keepsakes.get]
    return Members(server, BUDGET, WINDOW, 0, lambda: 0.0, *kept)


def commit(crew: Members, worker: int, steps: int = WINDOW) -> None:
    """Let a worker commit a window of what it is at."""
    place, sequence = crew.places[worker], crew._server.applied[worker] + 1
    last = place.taken or place.steps <= steps
    delivery = Delivery(worker, sequence, {"x": jnp.ones(2)}, steps, 0, {"loss": 0.0}, 0.0, 0.0, 0, last)
    if (applied := crew._server.deliver(delivery)) is not None:
        crew.applied(applied)


def go_on(crew: Members, worker: int, incarnation: int = 0, *, epoch: int = 0, new: bool = False) -> Start | None:
    sequence = -1 if new else crew._server.applied[worker]
    return asyncio.run(crew.go_on(worker, sequence, incarnation, epoch))


def kinds(crew: Members) -> list[tuple[int, str]]:
    return [(event["worker"], event["kind"]) for event in crew.events]


def test_the_others_take_over_what_is_left_of_a_budget_window_by_window() -> None:
    crew = members()
    commit(crew, 2)
    assert crew.orphan(crew.lose([2], 0, "gone")) == []
    assert crew.leave_work([2])
    for _ in range(4):
        commit(crew, 0)
    taken = []
    for worker in (0, 1):
        while crew.places[worker].steps > 0:
            if (place := crew.places[worker]).taken:
                taken.append(tuple(place)[:3])
            commit(crew, worker, min(WINDOW, place.steps))
    assert taken == [(2, 10, 20), (2, 20, 25)]
    assert not crew._server.active
    assert go_on(crew, 0) is None
    crew.orphan(crew.lose([0, 1], 0, "gone when all is done"))
    assert not crew.leave_work([0, 1])


def test_a_window_that_is_lost_once_more_or_ends_early_goes_to_the_next() -> None:
    crew = members()
    crew.orphan(crew.lose([2], 0, "gone"))
    for _ in range(4):
        commit(crew, 0)
    assert crew.places[0] == Place(2, 0, 10, taken=True)
    commit(crew, 0, steps=4)
    assert crew.places[0] == Place(2, 4, 10, taken=True)
    crew.orphan(crew.lose([0], 0, "gone as well"))
    for _ in range(4):
        commit(crew, 1)
    done = 4
    while crew.places[1].owner == 2 and (steps := crew.places[1].steps):
        assert crew.places[1].first_step == done
        commit(crew, 1, steps)
        done += steps
    assert done == 25


def test_a_worker_without_work_waits_and_starts_from_the_center_when_there_is_some() -> None:
    crew = members()

    async def scene() -> Start | None:
        for _ in range(3):
            commit(crew, 2, min(WINDOW, crew.places[2].steps))
        waiting = asyncio.ensure_future(crew.go_on(2, crew._server.applied[2], 0, 0))
        await asyncio.sleep(0)
        assert not waiting.done()
        commit(crew, 1)
        crew.orphan(crew.lose([1], 0, "gone"))
        return await waiting

    start = asyncio.run(scene())
    assert start is not None
    assert (start.place, start.sequence) == (Place(1, 10, 20, taken=True), 3)
    assert start.center is crew._server.center
    assert kinds(crew) == [(1, "lost"), (1, "orphaned"), (2, "taken over"), (2, "returned")]
    assert crew._server.admission.pulled[2] == crew._server.version == 4


def test_an_update_waits_for_nobody_who_is_gone() -> None:
    crew = members(quorum=3)
    commit(crew, 0)
    commit(crew, 1)
    assert crew._server.version == 0
    [applied] = crew.orphan(crew.lose([2], 0, "gone"))
    assert [delivery.worker for delivery in applied.deliveries] == [0, 1]


def test_a_commit_that_waited_is_lost_with_its_worker() -> None:
    crew = members(quorum=3)
    commit(crew, 2)
    crew.lose([2], 0, "gone")
    commit(crew, 0)
    commit(crew, 1)
    assert crew._server.version == 0  # it is replaced, and everybody waits for that
    start = go_on(crew, 2, incarnation=1, new=True)
    assert start == Start(0, Place(2, 0, 25), crew._server.center)
    commit(crew, 2)
    assert crew._server.version == 1


def test_who_goes_on_gets_what_came_with_the_last_commit_that_was_applied() -> None:
    keepsakes = Keepsakes(Kept(jnp.zeros(3), {}, ()), workers=3)
    state = [np.full(ALIGN, number, np.uint8) for number in range(4)]
    crew = members(keepsakes=keepsakes)
    crew.lose([0, 1], 0, "gone")
    start = go_on(crew, 0, incarnation=1, new=True)
    assert start is not None
    assert start.kept is None
    for sequence in (1, 2):
        keepsakes.put(0, sequence, state[sequence])
        commit(crew, 0)
    keepsakes.put(0, 3, state[3])  # came, but was not applied
    crew.lose([0], 1, "gone once more")
    start = go_on(crew, 0, incarnation=2, new=True)
    assert start is not None
    assert start.kept is state[2]
    keepsakes.drop(1)
    assert go_on(crew, 1, incarnation=1, new=True) is not None
    told = [(event["worker"], event["kept"]) for event in crew.events if event["kind"] == "replaced"]
    assert told == [(0, 0), (0, 1), (1, 0)]
    saved = keepsakes.save(crew._server.applied)
    assert list(saved) == ["0"]
    restored = Keepsakes(Kept(jnp.zeros(3), {}, ()), workers=3)
    restored.load(saved, crew._server.applied)
    buffer = restored.get(0, 2)
    assert buffer is not None
    assert (buffer[:12] == 2).all()


def test_a_question_asked_again_gets_the_same_answer() -> None:
    crew = members()
    crew.lose([0], 0, "gone")
    first = go_on(crew, 0, incarnation=1, new=True)
    commit(crew, 1)
    assert go_on(crew, 0, incarnation=1, new=True) is first
    assert crew._server.admission.pulled[0] == 0
    assert kinds(crew) == [(0, "lost"), (0, "replaced")]


@pytest.mark.parametrize(("sender", "said"), [((0, 0), "incarnation 0"), ((1, 7), "epoch 7")])
def test_nothing_of_a_former_sender_is_accepted(sender: tuple[int, int], said: str) -> None:
    crew = members()
    crew.lose([0], 0, "gone")
    crew.lose([0], 0, "gone, said twice")
    assert not crew.refused(0, 1, 0)
    assert crew.refused(0, *sender)
    assert said in crew.events[-1]["reason"]
    assert [kind for _, kind in kinds(crew)] == ["lost", "refused"]


def test_a_restored_server_knows_where_everybody_was() -> None:
    crew = members()
    commit(crew, 1)
    crew.orphan(crew.lose([2], 0, "gone"))
    saved = json.loads(json.dumps(crew.save()))
    commit(crew, 1)
    restored = members()
    restored._epoch = 1
    restored.load(saved)
    assert restored.places == [Place(0, 0, 40), Place(1, 10, 40), Place(2, 0, 0)]
    assert restored.orphans == deque([Place(2, 0, 25)])
    start = asyncio.run(restored.go_on(1, -1, 0, 1))
    assert start
    assert start.place == Place(1, 10, 40)
    assert kinds(restored) == [(1, "returned")]
    assert restored.refused(1, 0, epoch=0)
    again = asyncio.run(restored.go_on(2, -1, 0, 1))  # it was lost, but a new process hosts it as well
    assert again
    assert again.place.steps == 0
    assert go_on(restored, 2, epoch=1) == Start(0, Place(2, 0, 10, taken=True), restored._server.center)
    commit(restored, 2, steps=10)
    assert restored.places[2] == Place(2, 10, 20, taken=True)


def test_a_late_copy_of_a_question_changes_nothing_once_a_newer_one_was_answered() -> None:
    crew = members()
    first = go_on(crew, 0, new=True)
    commit(crew, 0)
    second = go_on(crew, 0)
    assert first is not None
    assert second is not None
    told = len(crew.events)
    assert go_on(crew, 0, new=True) is None
    assert go_on(crew, 0) == second
    assert len(crew.events) == told
