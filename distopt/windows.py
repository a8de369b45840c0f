"""When a window ends, and how many local steps it has, if that is known before it begins."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Planned(NamedTuple):
    """A window ends after a number of steps that is known before it begins."""

    steps: Callable[[int, int, float], int]
    """From λ, a window's number i = 1, 2, … and the worker's speed to the steps of that window, 1 to λ.

    The speed is in local steps per second relative to the fastest worker, in (0, 1].
    """


class Judged(NamedTuple):
    """A window ends after the step at which the worker's rule decides so, at the latest after λ."""

    ends: Callable[[Any, Any, Any], Any]  # the window so far, the gradient of its last step, the rule's state → bool


class WhenFree(NamedTuple):
    """A window ends after the first step at whose end no commit waits at the server, at the latest after λ."""


Until = Planned | Judged | WhenFree | None
"""When a window ends; None: after λ steps."""


def length(until: Until, window: int, sequence: int, speed: float, remaining: int) -> int:
    """Return the local steps of a worker's window number `sequence`, at most those that remain.

    Args:
        until: what the optimizer declares.
        window: λ.
        sequence: i.
        speed: of the worker.
        remaining: local steps of its budget.
    """
    return min(until.steps(window, sequence, speed) if isinstance(until, Planned) else window, remaining)


def lengths(until: Until, window: int, speed: float, budget: int) -> Iterator[int]:
    """Yield the steps of a worker's windows, one after the other, until its budget is used up; see `length`."""
    sequence = 0
    while budget > 0:
        sequence += 1
        steps = length(until, window, sequence, speed, budget)
        yield steps
        budget -= steps


def count(until: Until, window: int, speed: float, budget: int) -> int:
    """Return the number of windows in a worker's budget; see `length`."""
    if isinstance(until, Planned):
        return sum(1 for _ in lengths(until, window, speed, budget))
    return -(-budget // window)
