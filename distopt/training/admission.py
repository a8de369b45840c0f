"""Decides from counts alone which commits make an update, which are dropped, and which workers continue.

The server uses it for real commits, the cluster simulation for virtual ones. So both follow the optimizer's
`Synchrony`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from distopt.synchrony import Synchrony


class Verdict(NamedTuple):
    """The effect of a commit; all fields are empty if it waits for its quorum."""

    late: int | None = None  # the staleness τ of the commit if it is dropped
    committers: tuple[int, ...] = ()  # workers whose commits make an update now, ordered; (): no update
    staleness: tuple[int, ...] = ()  # τ of each of these commits
    released: tuple[int, ...] = ()  # workers that may continue after that, ordered
    joined: tuple[int, ...] = ()  # workers that start only now (`start_after`), ordered


class Admission:
    """Counts versions, pulls and commits.

    Args:
        synchrony: what the optimizer declares.
        workers: n.
        active: workers with local steps to take; None: all.
    """

    def __init__(self, synchrony: Synchrony, workers: int, active: Iterable[int] | None = None) -> None:
        self.version = 0
        self.pulled = [0] * workers  # the version of the center that each worker pulled last
        everyone = sorted(range(workers) if active is None else active)
        first = 1 if synchrony.start_after else len(everyone)
        self.active, self.late = set(everyone[:first]), set(everyone[first:])
        self.held: set[int] = set()  # workers whose commit is applied, but which are too far ahead to continue
        self._synchrony = synchrony
        self._group = [synchrony.group_of(k, workers) for k in range(workers)]
        self._left = Counter(self._group[k] for k in self.active)
        self._pending: dict[int, list[int]] = {group: [] for group in self._group}
        self._applied = [0] * workers
        self._at = Counter({0: len(self.active)})  # number of active workers by commits applied
        self._slowest = 0
        self._everyone = len(everyone)
        self._gone: set[int] = set()  # lost workers, which a quorum under `whole` does not count

    @property
    def over(self) -> bool:
        """Return whether training ends (`whole`), because fewer workers than a quorum have budget left."""
        return self._synchrony.whole and sum(self._left.values()) + len(self.late) < self._quorum(0)

    def save(self) -> dict[str, Any]:
        """Return the state between two updates for `load`; JSON can hold it."""
        waiting = {k for pending in self._pending.values() for k in pending}  # they will send their commits again
        sets = {"active": self.active | waiting, "late": self.late, "held": self.held, "gone": self._gone}
        numbers = {"version": self.version, "pulled": [*self.pulled], "counts": [*self._applied]}
        return numbers | {name: sorted(workers) for name, workers in sets.items()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        self.version, self.pulled, self._applied = saved["version"], [*saved["pulled"]], [*saved["counts"]]
        self.active, self.late, self.held, self._gone = (
            set(saved[name]) for name in ("active", "late", "held", "gone")
        )
        self._pending = {group: [] for group in self._group}
        self._left = Counter(self._group[k] for k in self.active)
        self._at = Counter(self._applied[k] for k in self.active)
        self._slowest = 0

    def commit(self, worker: int, last: bool = False) -> Verdict:
        """Take a commit of a worker that has none waiting and is not held; `last` ends its budget."""
        staleness = self.version - self.pulled[worker]
        if self._late(worker):
            self.pulled[worker] = self.version
            verdict = self.leave(worker) if last else Verdict()
            return verdict._replace(late=staleness, released=tuple(sorted({worker, *verdict.released})))
        group = self._group[worker]
        self._pending[group].append(worker)
        if last:
            self.active.discard(worker)
        return self._settle(group)

    def pull(self, worker: int) -> None:
        """Note that a worker pulled the center without a commit."""
        self.pulled[worker] = self.version

    def leave(self, worker: int) -> Verdict:
        """Stop waiting for a worker that has no commit waiting."""
        group = self._group[worker]
        self.active.discard(worker)
        self._forget(worker)
        verdict = self._settle(group)
        return verdict if verdict.committers else Verdict(released=self._release(()), joined=self._join())

    def forget(self, worker: int) -> None:
        """Drop a worker's commit that waits for its quorum, if there is one; the worker will send it again."""
        pending = self._pending[self._group[worker]]
        if worker in pending:
            pending.remove(worker)
            self.active.add(worker)

    def lose(self, worker: int) -> Verdict:
        """Drop the waiting commit of a lost worker, and stop waiting for the worker."""
        self.forget(worker)
        self.late.discard(worker)
        self.held.discard(worker)
        self._gone.add(worker)
        return self.leave(worker) if worker in self.active else self._settle(self._group[worker])

    def join(self, worker: int) -> None:
        """Wait again for a worker that had used up its budget."""
        self.active.add(worker)
        self._gone.discard(worker)
        self._left[self._group[worker]] += 1
        self._at[self._applied[worker]] += 1
        self._slowest = min(self._slowest, self._applied[worker])

    def _late(self, worker: int) -> bool:
        """Return whether the center has moved more than `max_staleness` times since a worker's pull."""
        most, period = self._synchrony.max_staleness, self._synchrony.period
        return most is not None and self.version // period - self.pulled[worker] // period > most

    def _quorum(self, group: int) -> int:
        """Return how many commits of a group's workers make an update now."""
        most = self._everyone - len(self._gone) if self._synchrony.whole else self._left[group]
        return min(self._synchrony.quorum, most)

    def _settle(self, group: int) -> Verdict:
        """Count an update if a group's quorum is complete."""
        pending = self._pending[group]
        if not pending or len(pending) < self._quorum(group):
            return Verdict()
        committers = tuple(sorted(pending))
        pending.clear()
        staleness = tuple([self.version - self.pulled[k] for k in committers])
        self.version += 1
        for k in committers:
            self._count(k)
        joined = self._join()
        return Verdict(None, committers, staleness, self._release(committers), joined)

    def _join(self) -> tuple[int, ...]:
        """Let late workers start after `start_after` updates, or once no other worker is active."""
        if not self.late or (self.version < self._synchrony.start_after and self.active):
            return ()
        joined, self.late = tuple(sorted(self.late)), set()
        self.active.update(joined)
        self._left.update(self._group[k] for k in joined)
        self._at[0] += len(joined)
        self._slowest = 0
        return joined

    def _count(self, worker: int) -> None:
        """Count an applied commit."""
        if worker in self.active:
            self._take_out(worker)
            self._at[self._applied[worker] + 1] += 1
        else:
            self._forget(worker)
        self._applied[worker] += 1

    def _forget(self, worker: int) -> None:
        """Stop counting a worker in its group and among the active ones."""
        self._left[self._group[worker]] -= 1
        self._take_out(worker)

    def _take_out(self, worker: int) -> None:
        """Take a worker out of the count of those with as many commits; drop a count of zero to save memory."""
        count = self._applied[worker]
        self._at[count] -= 1
        if not self._at[count]:
            del self._at[count]

    def _release(self, committers: tuple[int, ...]) -> tuple[int, ...]:
        """Return the workers that may continue within `bound`, and note what they pull."""
        bound = self._synchrony.bound
        if bound is not None:
            while self.active and not self._at[self._slowest]:
                self._slowest += 1
            ahead, waiting = self._slowest + bound, self.held.union(committers)
            self.held = {k for k in waiting if k in self.active and self._applied[k] > ahead}
            committers = tuple(sorted(waiting - self.held))
        for k in committers:
            if self._synchrony.answered(self._applied[k]):
                self.pulled[k] = self.version
        return committers
