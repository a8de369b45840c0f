"""The random durations of a run, each a function of (seed, worker, index) and drawn ahead in small chunks."""

from collections.abc import Iterator
from itertools import count, islice, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distopt.cluster.laws import FAILURE, SERVER, SPEED, STEP, STRAGGLER, Law, Streams, totals
from distopt.cluster.settings import Cluster
from distopt.synchrony import ASYNCHRONOUS, Synchrony
from distopt.windows import Planned, Until, lengths

#: draws made at a time: enough to hide the cost of a call, few enough for 100,000 workers
CHUNK = 32


class Workload(NamedTuple):
    """What a run asks of a cluster.

    The last window of a worker is shorter where λ does not divide its steps.
    """

    workers: int  # n
    window: int  # λ, local steps between two exchanges
    steps: NDArray[np.int64]  # local steps of each worker in all, shape (n,)
    synchrony: Synchrony = ASYNCHRONOUS
    until: Until = None  # when a window ends; None: after λ steps
    bytes_up: int = 0  # size of a commit
    bytes_down: int = 0  # of a reply
    bytes_center: int | None = None  # of the center, if workers fetch it before each commit
    seed: int = 0
    batch_size: int = 1  # samples of one local step


class Draws:
    """The durations of one run."""

    def __init__(self, cluster: Cluster, load: Workload) -> None:
        self.cluster = cluster
        self.load = load
        self.streams = Streams(load.seed)
        self.slowness = self._slowness().tolist()
        self.speeds = self._speeds() if isinstance(load.until, Planned) else [1.0] * load.workers

    def _slowness(self) -> NDArray[np.floating]:
        """Draw the factor on each worker's step times, shape (n,): lognormal with mean 1, times the stragglers'."""
        spread = Law(1.0, "lognormal" if self.cluster.spread else "deterministic", self.cluster.spread)
        factors = totals(spread, np.ones(self.load.workers, np.int64), self.streams.at(SPEED))
        factors[list(self.cluster.straggler_workers)] *= self.cluster.straggler_factor
        return factors

    def _speeds(self) -> list[float]:
        """Return the workers' mean local steps per second relative to the fastest one, in (0, 1]."""
        chance, factor = self.cluster.straggler_chance, self.cluster.straggler_factor
        always = set(self.cluster.straggler_workers)
        means = [own if k in always else own * (1 + chance * (factor - 1)) for k, own in enumerate(self.slowness)]
        if self.cluster.trace is not None:
            recorded = [np.mean(self.cluster.trace.get(k, self.cluster.step.seconds)) for k in range(len(means))]
            means = [mean * float(trace) for mean, trace in zip(means, recorded, strict=True)]
        least = min(means)
        return [least / mean for mean in means]

    def windows(self, worker: int) -> Iterator[tuple[int, float]]:
        """Yield the local steps and the compute seconds of a worker's windows in order."""
        first = 0
        for chunk, counts in enumerate(self._counts(worker)):
            if self.cluster.trace is not None:
                part = self.cluster.trace[worker][first : first + counts.sum()]
                seconds = np.add.reduceat(part, np.cumsum(counts) - counts)
            else:
                seconds = totals(self.cluster.step, counts, self.streams.at(STEP, worker, chunk))
            first += counts.sum()
            times = self._straggle(worker, chunk, len(counts)) * seconds
            yield from zip(counts.tolist(), times.tolist(), strict=True)

    def steps(self, worker: int) -> Iterator[tuple[int, float]]:
        """Yield 1 and the compute seconds of each local step of a worker in order, each step drawn by itself."""
        return Draws(self.cluster, self.load._replace(window=1, until=None)).windows(worker)

    def _counts(self, worker: int) -> Iterator[NDArray[np.int64]]:
        """Yield the local steps of a worker's windows, `CHUNK` windows at a time."""
        until, window, budget = self.load.until, self.load.window, int(self.load.steps[worker])
        if not isinstance(until, Planned):
            for first in range(0, budget, CHUNK * window):
                left = budget - np.arange(first, min(first + CHUNK * window, budget), window)
                yield np.minimum(window, left)
            return
        each = lengths(until, window, self.speeds[worker], budget)
        while some := list(islice(each, CHUNK)):
            yield np.array(some, np.int64)

    def _straggle(self, worker: int, chunk: int, size: int) -> float | NDArray[np.floating]:
        """Return the factor on the next windows of a worker: its own, by chance times the straggler's."""
        own, chance = self.slowness[worker], self.cluster.straggler_chance
        if not chance or worker in self.cluster.straggler_workers:
            return own
        slow = self.streams.at(STRAGGLER, worker, chunk).random(size) < chance
        return np.where(slow, self.cluster.straggler_factor * own, own)

    def services(self, worker: int) -> Iterator[float]:
        """Yield the server's seconds on each of a worker's commits in order, without end."""
        if not self.cluster.server.variation:
            return repeat(float(self.cluster.server.seconds))
        return self._endless(self.cluster.server, SERVER, worker)

    def failures(self, worker: int) -> Iterator[float]:
        """Yield the seconds of computing between a worker's failures, without end."""
        if self.cluster.failure_s == float("inf"):
            return repeat(self.cluster.failure_s)
        return self._endless(Law(self.cluster.failure_s, "exponential"), FAILURE, worker)

    def _endless(self, law: Law, purpose: int, worker: int) -> Iterator[float]:
        ones = np.ones(CHUNK, np.int64)
        for chunk in count():
            yield from totals(law, ones, self.streams.at(purpose, worker, chunk)).tolist()
