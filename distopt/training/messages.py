"""What passes through the server: commits, the updates they make, and why one is refused."""

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
    """One commit sent to the server, with what its worker tells about the window."""

    worker: int
    sequence: int  # 1, 2, … per worker
    message: Message
    steps: int
    samples: int
    measured: Mapping[str, Any]  # the metrics of its window, `loss` among them; they may not be computed yet
    compute_s: float
    exchange_s: float
    bytes_up: int
    last: bool  # the worker's budget ends with this commit
    columns: Mapping[str, Any] = {}  # more columns to record of the window
    flaw: str | None = None  # why there is no message: its shapes are not the agreed ones
    incarnation: int = 0  # how many incarnations of the worker were given up before
    epoch: int = 0  # epoch of the server that the commit is for


class Dropped(NamedTuple):
    """A commit that was answered with the center and not applied."""

    delivery: Delivery
    staleness: int
    version: int  # of the center then


class Applied(NamedTuple):
    """The effect of a commit: an update of the center, a dropped commit (without deliveries), or both.

    Its arrays may not be computed yet; `Server.rows` waits for them.
    """

    version: int
    before: Params  # the center it was applied to
    deliveries: list[Delivery]  # ordered by worker
    staleness: list[int]
    pulled: list[Params] | None  # by the committers; None: all of them pulled `before`
    replies: dict[int, Reply]  # of all answered workers
    measured: Mapping[str, Any]  # arrays: per commit, shape (q,), or per update, shape ()
    refused: tuple[int, ...] = ()  # committers whose commit was left out; their replies are the center
    dropped: Dropped | None = None

    @property
    def samples(self) -> int:
        """Return the samples of all its commits, including the dropped one."""
        return sum(d.samples for d in self.deliveries) + (self.dropped.delivery.samples if self.dropped else 0)


def diverged(update: int, worker: int, loss: float, norm: float) -> str:
    """Say which commit ended training, and what was not finite."""
    what = f"loss {loss}" if math.isfinite(norm) else f"norm of the commit {norm}"
    return f"update {update}: {what} from worker {worker}"
