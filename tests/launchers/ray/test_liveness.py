"""Who is gone: actors that died, that raised, and that have been silent; an answer that got lost is asked for again."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from distopt.launchers.ray import liveness
from distopt.launchers.ray.liveness import Attendance, Group

TIMEOUT = 60


class Ray:
    """Answers by name: a value, an error, or nothing yet; it is also every actor, and its own runtime context."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.killed: list[Any] = []
        self.call = self

    def get_runtime_context(self) -> Any:
        return self

    def get_node_id(self) -> str:
        return "here"

    def remote(self, method: str) -> str:
        self.asked.append(method)
        return method

    def wait(self, refs: list[str], num_returns: int = 1, timeout: float = 0) -> tuple[list[str], list[str]]:
        return [ref for ref in refs if ref in self.answers], [ref for ref in refs if ref not in self.answers]

    def get(self, ref: str) -> Any:
        if isinstance(self.answers[ref], Exception):
            raise self.answers[ref]
        return self.answers[ref]

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append((pid, number)))
    return sent


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1000.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now[0])
    yield now
    monkeypatch.undo()


def watched(ray: Ray) -> Attendance:
    attendance = Attendance(ray, TIMEOUT)
    attendance.enter(Group(ray, [0, 1], ("train",), heard=1000.0))
    return attendance


def test_a_group_that_is_done_is_not_gone(signals: list[tuple[int, int]]) -> None:
    ray = Ray()
    attendance = watched(ray)
    ray.answers["train"] = None
    assert attendance.look(0) == []
    assert attendance.groups == ray.killed == []


@pytest.mark.parametrize(
    ("error", "own"), [(ActorDiedError(), False), (RayTaskError("train", "ValueError: no", ValueError("no")), True)]
)
def test_a_group_that_died_is_told_from_one_that_raised(error: Exception, own: bool, clock: list[float]) -> None:
    ray = Ray()
    attendance = watched(ray)
    ray.answers["train"] = error
    [(group, reason, its_own)] = attendance.look(0)
    assert (group.hosted, its_own) == ([0, 1], own)
    assert type(error).__name__ in reason or "ValueError: no" in reason
    assert attendance.groups == []


def test_an_end_that_got_lost_is_asked_for_again(clock: list[float]) -> None:
    ray = Ray()
    attendance = watched(ray)
    ray.answers["train"] = ActorUnavailableError("a reply got lost", None)
    assert attendance.look(0) == []
    assert ray.asked.count("train") == 2
    ray.answers["train"] = None
    assert attendance.look(0) == []
    assert attendance.groups == []


def test_silence_counts_as_loss_and_cannot_be_broken(signals: list[tuple[int, int]], clock: list[float]) -> None:
    ray = Ray()
    attendance = watched(ray)
    ray.answers["ping"] = ("here", 4711)
    for _ in range(10):
        clock[0] += TIMEOUT / 2
        assert attendance.look(0) == []
    del ray.answers["ping"]
    clock[0] += TIMEOUT + 2
    [(_, reason, own)] = attendance.look(0)
    assert (reason, own) == ("silent for launcher.timeout=60 seconds", False)
    assert ray.killed == [ray]
    assert signals == [(4711, signal.SIGKILL)]
