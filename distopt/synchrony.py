"""When commits make an update, as numbers: one declaration that server, simulator, predictor and workers all read.

No JAX: commits can be counted by it without training anything.
"""

from collections import Counter
from typing import NamedTuple

ALL = 2**31 - 1
"""A quorum larger than any number of workers: every worker still training takes part in every update."""


class Synchrony(NamedTuple):
    """When commits make an update, which are dropped, and who waits.

    The default is asynchronous: every commit is an update, and its worker goes on at once.
    """

    quorum: int = 1  # commits folded into one update: 1 asynchronous, `ALL` a barrier, between them K of n
    groups: int | None = None  # split the workers into that many groups of neighbours; a quorum is of one group
    period: int = 1  # every `period`-th update moves the center; the others only change the rule's state
    max_staleness: int | None = None  # drop commits if the center moved more often since their worker's pull
    bound: int | None = None  # a worker more commits than that ahead of the slowest waits before it continues
    whole: bool = False  # stop when fewer workers than a quorum have budget left; else quorums shrink
    start_after: int = 0  # updates that worker 0 makes alone; the others then start from the current center
    fetch: int = 1  # the server replies to every `fetch`-th commit; after the others a worker continues from θᵏ

    @property
    def direct(self) -> bool:
        """Whether no commit is dropped and no worker held back: only the update that takes a commit answers it."""
        return self.max_staleness is None and self.bound is None

    def answered(self, sequence: int) -> bool:
        """Return whether the server replies to a worker's commit number `sequence`, 1, 2, …"""
        return sequence % self.fetch == 0

    def group_of(self, worker: int, workers: int) -> int:
        """Return a worker's group; groups are neighbours, and as equal in size as possible."""
        return worker * min(self.groups or 1, workers) // workers

    def quorums(self, workers: int) -> list[int]:
        """Return the sizes that updates have while all workers train, ordered; the last one is the largest."""
        sizes = Counter(self.group_of(k, workers) for k in range(workers)).values()
        return sorted({min(self.quorum, size) for size in sizes})

    def barrier(self, workers: int) -> bool:
        """Return whether every update takes and answers a commit of every worker: all pulled the center it changes."""
        return self.quorums(workers) == [workers] and self.fetch == 1

    def problems(self) -> list[str]:
        """Return which numbers are wrong or do not go together; empty if none."""
        least = {"quorum": 1, "groups": 1, "period": 1, "max_staleness": 0, "bound": 0, "start_after": 0, "fetch": 1}
        values = self._asdict()
        found = [
            f"{name}={values[name]} must be at least {low}"
            for name, low in least.items()
            if values[name] is not None and values[name] < low
        ]
        if self.groups is not None and self.max_staleness is not None:
            found.append("groups cannot drop commits (max_staleness)")
        if self.groups is not None and self.whole:
            found.append("groups cannot end training (whole)")
        if not self.direct and self.fetch > 1:
            found.append("max_staleness and bound need every commit answered (fetch=1)")
        return found


ASYNCHRONOUS, BARRIER = Synchrony(), Synchrony(ALL)
