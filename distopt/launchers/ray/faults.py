"""Injected faults: calls to the server get lost, lose their answer, arrive late or arrive twice.

Ray executes a call at most once, and raises an error where it does not know whether it did. These faults are the four
ways in which such a call can go, drawn by a seed.
"""

import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from distopt.settings import Check

FAULTS = {
    "request": "the call never arrives",
    "reply": "the call is done, its answer gets lost",
    "late": "the sender hears nothing, and the call arrives when it has sent it again",
    "twice": "the call arrives two times",
}
LATE_S = 0.5  # the longest delay
MOST = 0.8  # the largest share of calls with a fault
WORDS = f"null, or probabilities of {', '.join(FAULTS)} that add up to {MOST} at most, and a seed"
Call = Callable[[], Any]


def accepts(settings: Any) -> bool:
    """Return whether `launcher.chaos` can have this value."""
    if settings is None:
        return True
    if not isinstance(settings, Mapping) or set(settings) - {*FAULTS, "seed"}:
        return False
    chances = [value for key, value in settings.items() if key != "seed"]
    numbers = all(isinstance(p, int | float) and not isinstance(p, bool) and p >= 0 for p in chances)
    return numbers and sum(chances) <= MOST and type(settings.get("seed", 0)) is int


CHECK = Check(WORDS, accepts)


class Chaos:
    """Disturbs the calls of one process."""

    def __init__(self, settings: Mapping[str, Any], process: int) -> None:
        self._chances = {name: settings.get(name, 0.0) for name in FAULTS}
        self._random = random.Random(settings.get("seed", 0) * 1_000_003 + process)
        self.done = dict.fromkeys(FAULTS, 0)

    def __call__(self, send: Call, receive: Callable[[Any], Any], unknown: Callable[[str], Exception]) -> Any:
        """Make a call, perhaps with a fault.

        Args:
            send: sends it and returns a handle.
            receive: waits for the answer to a handle.
            unknown: makes the error that says that the outcome is unknown.
        """
        fault = self._draw()
        if fault is None:
            return receive(send())
        self.done[fault] += 1
        if fault == "reply":
            receive(send())
        elif fault == "late":
            timer = threading.Timer(self._random.uniform(0, LATE_S), send)
            timer.daemon = True
            timer.start()
        elif fault == "twice":
            first, second = send(), send()
            answer = receive(second)
            receive(first)
            return answer
        raise unknown(FAULTS[fault])

    def _draw(self) -> str | None:
        drawn = self._random.random()
        for name, chance in self._chances.items():
            drawn -= chance
            if drawn < 0:
                return name
        return None
