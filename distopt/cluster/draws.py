"""The random durations of a run, each a function of (seed, worker, index) and drawn ahead in small chunks."""

from collections.abc import Iterator
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distopt.cluster.laws import FAILURE, SERVER, SPEED, STEP, STRAGGLER, Law, stream, totals
from distopt.cluster.settings import Cluster

#: draws made at a time: enough to hide the cost of a call, few enough for 100,000 workers
CHUNK = 64


class Workload(NamedTuple):
    """What a run asks of a cluster.

    workers: n. window: λ, local steps between two exchanges. steps: local steps of each worker in all, shape (n,);
    the last window of a worker is shorter where λ does not divide them. quorum: commits folded into one update, 1
    asynchronous, n a barrier; it shrinks to the number of workers that still have steps to do. bytes_up, bytes_down:
    size of a commit and of a reply. batch_size: samples of one local step.
    """

    workers: int
    window: int
    steps: NDArray[np.int64]
    quorum: int = 1
    bytes_up: int = 0
    bytes_down: int = 0
    seed: int = 0
    batch_size: int = 1


def slowness(cluster: Cluster, load: Workload) -> NDArray[np.floating]:
    """Factor on the step times of each worker, shape (n,): lognormal with mean 1, times the given stragglers'."""
    spread = Law(1.0, "lognormal" if cluster.spread else "deterministic", cluster.spread)
    factors = totals(spread, np.ones(load.workers, np.int64), stream(load.seed, SPEED))
    factors[list(cluster.straggler_workers)] *= cluster.straggler_factor
    return factors


def window_seconds(cluster: Cluster, load: Workload, worker: int, factor: float) -> Iterator[float]:
    """Yield the compute seconds of one worker's windows in order; `factor` is its entry of `slowness`."""
    rng, slow = stream(load.seed, STEP, worker), None
    if cluster.straggler_chance and worker not in cluster.straggler_workers:
        slow = stream(load.seed, STRAGGLER, worker)
    steps = int(load.steps[worker])
    for first in range(0, steps, CHUNK * load.window):
        starts = np.arange(first, min(first + CHUNK * load.window, steps), load.window)
        counts = np.minimum(load.window, steps - starts)
        if cluster.trace is not None:
            part = cluster.trace[worker][first : first + counts.sum()]
            seconds = np.add.reduceat(part, starts - first)
        else:
            seconds = totals(cluster.step, counts, rng)
        if slow is not None:
            seconds = (
                np.where(slow.random(len(counts)) < cluster.straggler_chance, cluster.straggler_factor, 1) * seconds
            )
        yield from (factor * seconds).tolist()


def service_seconds(cluster: Cluster, load: Workload, worker: int) -> Iterator[float]:
    """Yield the server's seconds on each of one worker's commits in order, without end."""
    if not cluster.server.variation:
        return repeat(float(cluster.server.seconds))
    return _endless(cluster.server, stream(load.seed, SERVER, worker))


def failure_gaps(cluster: Cluster, load: Workload, worker: int) -> Iterator[float]:
    """Yield the seconds of computing between one worker's failures, without end."""
    if cluster.failure_s == float("inf"):
        return repeat(cluster.failure_s)
    return _endless(Law(cluster.failure_s, "exponential"), stream(load.seed, FAILURE, worker))


def _endless(law: Law, rng: np.random.Generator) -> Iterator[float]:
    ones = np.ones(CHUNK, np.int64)
    return chain.from_iterable(totals(law, ones, rng).tolist() for _ in repeat(None))
