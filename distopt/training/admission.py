"""Which commits make an update, which are dropped, and who may go on: numbers alone, the same in every launcher.

The server asks it about real commits and the simulation of a cluster about virtual ones, so both do what the optimizer
declares in its `Synchrony`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from distopt.synchrony import Synchrony


class Verdict(NamedTuple):
    """What a commit sets off; nothing if it waits for its quorum."""

    late: int | None = None  # the staleness τ of the commit if it is dropped
    committers: tuple[int, ...] = ()  # whose commits make an update now, ordered; none: there is no update
    staleness: tuple[int, ...] = ()  # τ of each
    released: tuple[int, ...] = ()  # who goes on from the center after that, ordered
    joined: tuple[int, ...] = ()  # who starts only now, ordered


class Admission:
    """Counts versions, pulls and commits.

    Args:
        synchrony: what the optimizer declares.
        workers: n.
        active: those that have something to do; None: all of them.
    """

    def __init__(self, synchrony: Synchrony, workers: int, active: Iterable[int] | None = None) -> None:
        self.version = 0
        self.pulled = [0] * workers  # the version each worker goes on from
        everyone = sorted(range(workers) if active is None else active)
        first = 1 if synchrony.start_after else len(everyone)
        self.active, self.late = set(everyone[:first]), set(everyone[first:])
        self.held: set[int] = set()  # their commits are applied, but they are too far ahead to go on
        self._synchrony = synchrony
        self._group = [synchrony.group_of(k, workers) for k in range(workers)]
        self._left = Counter(self._group[k] for k in self.active)
        self._pending: dict[int, list[int]] = {group: [] for group in self._group}
        self._applied = [0] * workers
        self._at = Counter({0: len(self.active)})  # active workers by commits applied
        self._slowest = 0
        self._everyone = len(everyone)
        self._gone: set[int] = set()  # lost, and nothing of them is left to do

    @property
    def over(self) -> bool:
        """Return whether training ends here, because too few workers for a quorum have something to do."""
        return self._synchrony.whole and sum(self._left.values()) + len(self.late) < self._quorum(0)

    def save(self) -> dict[str, Any]:
        """Return what `load` needs to go on between two updates, as JSON can hold it."""
        waiting = {k for pending in self._pending.values() for k in pending}  # whose commits will be sent again
        sets = {"active": self.active | waiting, "late": self.late, "held": self.held, "gone": self._gone}
        numbers = {"version": self.version, "pulled": [*self.pulled], "counts": [*self._applied]}
        return numbers | {name: sorted(workers) for name, workers in sets.items()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` returned."""
        self.version, self.pulled, self._applied = saved["version"], [*saved["pulled"]], [*saved["counts"]]
        self.active, self.late, self.held, self._gone = (
            set(saved[name]) for name in ("active", "late", "held", "gone")
        )
        self._pending = {group: [] for group in self._group}
        self._left = Counter(self._group[k] for k in self.active)
        self._at = Counter(self._applied[k] for k in self.active)
        self._slowest = 0

    def commit(self, worker: int, last: bool = False) -> Verdict:
        """Take a worker's commit, the `last` one of its budget or not; it has none that waits, and is not held."""
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
        """Note that a worker fetched the center without a commit."""
        self.pulled[worker] = self.version

    def leave(self, worker: int) -> Verdict:
        """Take leave of a worker of which no commit waits: the others need not wait for it."""
        group = self._group[worker]
        self.active.discard(worker)
        self._forget(worker)
        verdict = self._settle(group)
        return verdict if verdict.committers else Verdict(released=self._release(()), joined=self._join())

    def forget(self, worker: int) -> None:
        """Drop the commit of a worker that waits for others, if there is one: it will make it again."""
        pending = self._pending[self._group[worker]]
        if worker in pending:
            pending.remove(worker)
            self.active.add(worker)

    def lose(self, worker: int) -> Verdict:
        """Do without a worker that is gone: no longer wait for it, nor for what it had committed."""
        self.forget(worker)
        self.late.discard(worker)
        self.held.discard(worker)
        self._gone.add(worker)
        return self.leave(worker) if worker in self.active else self._settle(self._group[worker])

    def join(self, worker: int) -> None:
        """Wait for a worker again that had used up its budget."""
        self.active.add(worker)
        self._gone.discard(worker)
        self._left[self._group[worker]] += 1
        self._at[self._applied[worker]] += 1
        self._slowest = min(self._slowest, self._applied[worker])

    def _late(self, worker: int) -> bool:
        """Return whether the center has moved too often since a worker's pull."""
        most, period = self._synchrony.max_staleness, self._synchrony.period
        return most is not None and self.version // period - self.pulled[worker] // period > most

    def _quorum(self, group: int) -> int:
        """Return how many commits of a group's workers make an update now."""
        most = self._everyone - len(self._gone) if self._synchrony.whole else self._left[group]
        return min(self._synchrony.quorum, most)

    def _settle(self, group: int) -> Verdict:
        """Update the center if a group's quorum is complete."""
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
        """Let late workers in once it is time, or nobody else is left."""
        if not self.late or (self.version < self._synchrony.start_after and self.active):
            return ()
        joined, self.late = tuple(sorted(self.late)), set()
        self.active.update(joined)
        self._left.update(self._group[k] for k in joined)
        self._at[0] += len(joined)
        self._slowest = 0
        return joined

    def _count(self, worker: int) -> None:
        """Count a commit that is applied."""
        if worker in self.active:
            self._take_out(worker)
            self._at[self._applied[worker] + 1] += 1
        else:
            self._forget(worker)
        self._applied[worker] += 1

    def _forget(self, worker: int) -> None:
        """Wait for a worker no longer."""
        self._left[self._group[worker]] -= 1
        self._take_out(worker)

    def _take_out(self, worker: int) -> None:
        """Remove a worker from those with as many commits; a long run must not keep every number there was."""
        count = self._applied[worker]
        self._at[count] -= 1
        if not self._at[count]:
            del self._at[count]

    def _release(self, committers: tuple[int, ...]) -> tuple[int, ...]:
        """Let those go on who are not too far ahead, and note what they pull."""
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
