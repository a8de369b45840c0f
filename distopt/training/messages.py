"""What passes through the server: commits on their way, what they set off, and the rows that are recorded of them."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from distopt.errors import DistoptError
from distopt.rules import Message, Params, Reply


class Diverged(DistoptError):
    """A commit that is not finite; it was not applied."""


class Misfit(DistoptError):
    """A commit of the wrong shape or dtype."""


class Delivery(NamedTuple):
    """One commit on its way to the server, with what the worker says about its window."""

    worker: int
    sequence: int  # 1, 2, … per worker
    message: Message
    steps: int
    samples: int
    loss: Any  # a number, or an array that may still be computed
    accuracy: Any
    compute_s: float
    exchange_s: float
    bytes_up: int
    last: bool  # the worker's budget ends with this commit
    columns: Mapping[str, Any] = {}  # what else is recorded of the window
    flaw: str | None = None  # why there is no message: it has not the shapes that were agreed on
    incarnation: int = 0  # how often the worker was given up before
    epoch: int = 0  # of the server that it is for


class Dropped(NamedTuple):
    """A commit that was answered with the center and not applied."""

    delivery: Delivery
    staleness: int
    version: int  # of the center then


class Applied(NamedTuple):
    """What a commit set off: an update of the center, none (no deliveries) if it was dropped, or both.

    Its arrays may still be computed: `Server.rows` waits for them.
    """

    version: int
    before: Params  # the center it was applied to
    deliveries: list[Delivery]  # ordered by worker
    staleness: list[int]
    pulled: list[Params] | None  # by the committers; None: all of them pulled `before`
    replies: dict[int, Reply]  # of everybody who is answered
    measured: Mapping[str, Any]  # arrays: per commit, shape (q,), or per update, shape ()
    refused: tuple[int, ...] = ()  # committers whose commit was left out; their replies are the center
    dropped: Dropped | None = None

    @property
    def samples(self) -> int:
        """Return the samples of all its commits, the dropped one as well."""
        return sum(d.samples for d in self.deliveries) + (self.dropped.delivery.samples if self.dropped else 0)


def diverged(update: int, worker: int, loss: float, norm: float) -> str:
    """Say which commit ended training, and what was not finite."""
    what = f"loss {loss}" if math.isfinite(norm) else f"norm of the commit {norm}"
    return f"update {update}: {what} from worker {worker}"
