"""What each worker does between two exchanges, in virtual time."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from distopt.cluster.draws import Draws, Workload
from distopt.cluster.settings import Cluster
from distopt.windows import WhenFree


class Commit(NamedTuple):
    """One worker's part in an update.

    steps: local steps of its window. compute_s: what they took. exchange_s: seconds from the end of the worker's
    previous window, or of the run's start, to the start of this one. server_s: the server's work on this commit, 0 if
    it drops the commit. staleness: updates applied since its worker pulled. share: owner and first step of a window
    that was taken over. kept: the worker returns after this commit, with the local state it has at it.
    """

    worker: int
    steps: int
    compute_s: float
    exchange_s: float
    server_s: float
    staleness: int = 0
    share: tuple[int, int] | None = None
    kept: bool = False


class Joined(NamedTuple):
    """A worker that is done and takes over one window of the budget of `owner`, from `first_step`."""

    worker: int
    owner: int
    first_step: int


StepsOf = Callable[[int], int]
"""From a worker to the steps of the window that it opens now, for windows whose steps only their computation shows."""

#: what happens next to a worker, as time, worker and what: a commit or a pull after a failure (None) reaches the
#: server's port, or a local step ends after which the window may end (STEP)
Event = tuple[float, int, Commit | str | None]
STEP = "step"


class Workers:
    """What each worker is doing between two exchanges."""

    def __init__(self, cluster: Cluster, load: Workload, steps_of: StepsOf | None) -> None:
        ids = range(load.workers)
        self.window, self.when_free, self.steps_of = load.window, isinstance(load.until, WhenFree), steps_of
        self.up_s, _ = cluster.up.split(load.bytes_up, cluster.shared)
        self.latency_s = cluster.up.latency_s
        self.first_s = self.up_s if load.bytes_center is None else self.latency_s  # uplink of a commit or a pull
        self.pull_s = cluster.downtime_s + self.latency_s
        self.left = load.steps.tolist()
        self.began = [cluster.start_s] * load.workers
        self.ended = [cluster.start_s] * load.workers
        draws = Draws(cluster, load)
        self.compute = [draws.steps(k) if self.when_free or steps_of else draws.windows(k) for k in ids]
        self.redo: list[deque[tuple[int, float]]] = [deque() for _ in ids]  # draws of lost windows, used again
        self.taken: list[list[tuple[int, float]]] = [[] for _ in ids]  # steps and seconds of the window under way
        self.service = [draws.services(k) for k in ids]
        self.gaps = [draws.failures(k) for k in ids]
        self.uptime = [next(gaps) for gaps in self.gaps]

    def start(self, worker: int, now: float) -> Event:
        """Open a window at time `now`."""
        self.began[worker], self.taken[worker] = now, []
        return self.go_on(worker, now, self.steps_of(worker) if self.steps_of else 1)

    def go_on(self, worker: int, now: float, draws: int = 1) -> Event:
        """Compute from time `now` for the seconds of `draws` draws, each of a window or a step."""
        redo, taken = self.redo[worker], self.taken[worker]
        seconds = 0.0
        for _ in range(draws):
            taken.append(redo.popleft() if redo else next(self.compute[worker]))
            seconds += taken[-1][1]
        uptime = self.uptime[worker]
        if seconds >= uptime:
            redo.extendleft(reversed(taken))
            self.uptime[worker] = next(self.gaps[worker])
            return now + uptime + self.pull_s, worker, None
        self.uptime[worker] = uptime - seconds
        return (now + seconds, worker, STEP) if self.when_free else self.commit(worker, now + seconds)

    def full(self, worker: int) -> bool:
        """Return whether the window under way has all its steps, each drawn by itself."""
        return len(self.taken[worker]) >= min(self.window, self.left[worker])

    def commit(self, worker: int, now: float) -> Event:
        """End the window at time `now`, and send the commit."""
        steps, seconds = map(sum, zip(*self.taken[worker], strict=True))
        waited = self.began[worker] - self.ended[worker]
        self.left[worker] -= steps
        self.ended[worker] = now
        return now + self.first_s, worker, Commit(worker, steps, seconds, waited, next(self.service[worker]))
