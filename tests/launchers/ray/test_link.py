"""Calls that get lost on purpose are made again, and whatever happens to them takes effect once."""

import time
from typing import Any

import pytest

from distopt.launchers.ray import faults, link
from distopt.launchers.ray.link import Link


class Counter:
    """A server that counts its calls, and answers the numbers it has seen."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.call = self

    def remote(self, method: str, number: int) -> list[int]:
        assert method == "count"
        self.calls.append(number)
        return sorted(set(self.calls))


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.get", lambda answer: answer)
    monkeypatch.setattr(link, "LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr(faults, "LATE_S", 0.01)


@pytest.mark.parametrize("fault", faults.FAULTS)
def test_every_call_takes_effect_once_in_order(ray: None, fault: str) -> None:
    server = Counter()
    link = Link(server, {"seed": 3, fault: 0.3}, process=1)
    answers = [link("count", number) for number in range(100)]
    assert answers == [list(range(number + 1)) for number in range(100)]
    faults = link.describe()["faults"]
    assert 15 < faults[fault] < 60
    assert sum(faults.values()) == faults[fault]
    assert link.repeated == (0 if fault == "twice" else faults[fault])
    time.sleep(0.05)
    assert len(server.calls) == 100 + (faults[fault] if fault != "request" else 0)


def test_the_faults_are_those_of_the_seed_and_the_process(ray: None) -> None:
    def drawn(seed: int, process: int) -> list[int]:
        server = Counter()
        link = Link(server, {"seed": seed, "reply": 0.3}, process)
        for number in range(50):
            link("count", number)
        return server.calls

    assert drawn(1, 2) == drawn(1, 2) != drawn(2, 2)
    assert drawn(1, 2) != drawn(1, 3)


def test_silence_is_told(ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults.Chaos, "_draw", lambda self: "request")
    with pytest.raises(TimeoutError, match="does not answer `count`"):
        Link(Counter(), {"request": 0.5})("count", 1)


@pytest.mark.parametrize(
    ("settings", "good"),
    [
        (None, True),
        ({"seed": 1, "reply": 0.1, "late": 0.2}, True),
        ({"reply": 0.5, "late": 0.5}, False),
        ({"reply": float("nan")}, False),
        ({"answer": 0.1}, False),
        ({"seed": 0.5}, False),
        ([0.1], False),
    ],
)
def test_settings_are_checked(settings: Any, good: bool) -> None:
    assert faults.accepts(settings) == good
