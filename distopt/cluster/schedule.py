"""The order and the virtual times of all commits of a run: a discrete-event simulation that trains nothing."""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from distopt.cluster.draws import Workload
from distopt.cluster.settings import Cluster
from distopt.cluster.workers import Commit, Event, Joined, StepsOf, Workers
from distopt.errors import ConfigError
from distopt.training.admission import Admission, Verdict


class Update(NamedTuple):
    """One update of the center at virtual time `time_s`, with its commits ordered by worker.

    Without commits it leaves the center as it is, and only tells that commits were dropped or that workers returned.

    The other fields tell what happened since the previous update, before this one changes the center.

    returned: workers that pulled the center to start from it, after a failure or because they start late, ordered. What
    they had computed since their last commit is lost; they take the same steps of their budget again.
    pulled: workers that fetched the center without losing their window, ordered.
    dropped: commits that were answered with the center and not applied, in the order they were served.
    left: lost workers that the others stop waiting for, though steps of their budget are left.
    joined: workers that take over one window of another worker's budget.
    """

    time_s: float
    commits: tuple[Commit, ...]
    returned: tuple[int, ...] = ()
    pulled: tuple[int, ...] = ()
    dropped: tuple[Commit, ...] = ()
    left: tuple[int, ...] = ()
    joined: tuple[Joined, ...] = ()


def schedule(cluster: Cluster, load: Workload, steps_of: StepsOf | None = None) -> Iterator[Update]:
    """Return the updates of a run in the order applied, lazily; raises `ConfigError` at once for a bad pairing.

    An exchange takes local steps, uplink, a first-come-first-served queue, server work and downlink; equal times are
    ordered by worker. An update is applied when the last of its commits has been served, and its committers continue
    when their replies arrive. `distopt.training.admission` decides which commits these are, and which workers wait
    longer. A worker stops after its budget. Pulls, after a failure or before a commit, and dropped commits wait their
    turn in the queue but take no server time.

    Args:
        cluster: what takes how long.
        load: what the run asks of it.
        steps_of: gives the steps of a window when its worker opens it, after the previous update has been taken; None:
            λ steps, or what `load` says. An update without commits tells that a worker returned before this is called
            for the worker.
    """
    if problems := check(cluster, load):
        raise ConfigError(problems)
    return _Simulation(cluster, load, steps_of).updates()


class _Port:
    """The server's port and processor: a first-come-first-served queue in, its work, and a queue out."""

    def __init__(self, cluster: Cluster, load: Workload) -> None:
        _, self._up_s = cluster.up.split(load.bytes_up, cluster.shared)
        center = load.bytes_down if load.bytes_center is None else load.bytes_center
        sizes = {"reply": load.bytes_down, "center": center, "nothing": 0}
        self._down = {what: cluster.down.split(size, cluster.shared) for what, size in sizes.items()}
        self._received = self.served = self._sent = cluster.start_s

    def serve(self, arrival: float, seconds: float) -> None:
        """Receive a commit and work on it; `served` is when that is done."""
        self._received = (arrival if arrival > self._received else self._received) + self._up_s
        self.served = (self._received if self._received > self.served else self.served) + seconds

    def look(self, arrival: float) -> None:
        """Receive a request for the center, which waits its turn and takes no work."""
        self.served = max(arrival, self.served)

    def send(self, what: str) -> float:
        """Send `what` once it is ready and the port is free; return when it reaches the worker."""
        delay_s, port_s = self._down[what]
        self._sent = (self.served if self.served > self._sent else self._sent) + port_s
        return self._sent + delay_s


class _Simulation:
    """What happens between two updates, one handler per kind of event."""

    def __init__(self, cluster: Cluster, load: Workload, steps_of: StepsOf | None) -> None:
        self._workers = Workers(cluster, load, steps_of)
        self._port = _Port(cluster, load)
        self._start_s = cluster.start_s
        self._admission = Admission(load.synchrony, load.workers, np.flatnonzero(load.steps).tolist())
        self._pending: dict[int, Commit] = {}
        self._returned: set[int] = set()
        self._pulls, self._fetch = load.bytes_center is not None, load.synchrony.fetch
        self._pulled: set[int] = set()
        self._fetched: set[int] = set()  # workers that have the center, and whose commit is on its way
        self._answered = [0] * load.workers  # commits since a worker's last reply
        self._queue: list[Event] = []

    def updates(self) -> Iterator[Update]:
        """Yield the updates; the simulation continues after one when the next one is requested."""
        for worker in sorted(self._admission.active):
            heappush(self._queue, self._workers.start(worker, self._start_s))
        while self._queue:
            arrival, worker, commit = heappop(self._queue)
            if isinstance(commit, str):
                self._step(arrival, worker)
                continue
            if commit is None:
                self._port.look(arrival)
                yield from self._restart([worker])
                continue
            if self._pulls and worker not in self._fetched:
                self._lend(arrival, commit)
                continue
            self._fetched.discard(worker)
            verdict = self._admission.commit(worker, last=not self._workers.left[worker])
            dropped = self._receive(arrival, commit, verdict)
            if verdict.committers or dropped:
                yield self._update(verdict, dropped)
                yield from self._answer(verdict)
            if self._admission.over:
                return

    def _receive(self, arrival: float, commit: Commit, verdict: Verdict) -> tuple[Commit, ...]:
        """Work on a commit, or return it if it is dropped."""
        if verdict.late is None:
            self._port.serve(arrival, commit.server_s)
            self._pending[commit.worker] = commit
            return ()
        self._port.serve(arrival, 0.0)
        return (commit._replace(server_s=0.0, staleness=verdict.late),)

    def _step(self, now: float, worker: int) -> None:
        """Let a worker commit if the server is free or the window is full, else take another step."""
        ends = now >= self._port.served or self._workers.full(worker)
        heappush(self._queue, (self._workers.commit if ends else self._workers.go_on)(worker, now))

    def _restart(self, workers: Sequence[int]) -> Iterator[Update]:
        """Let workers start from the center: after a failure, or because they start late."""
        self._returned.update(workers)
        for worker in workers:
            self._admission.pull(worker)
        if self._workers.steps_of:
            yield self._update(Verdict(), ())
        for worker in workers:
            self._start(worker, "center")

    def _lend(self, arrival: float, commit: Commit) -> None:
        """Send a worker the center for its commit, which follows once the worker has it."""
        self._port.look(arrival)
        self._admission.pull(commit.worker)
        self._pulled.add(commit.worker)
        self._fetched.add(commit.worker)
        heappush(self._queue, (self._port.send("center") + self._workers.up_s, commit.worker, commit))

    def _update(self, verdict: Verdict, dropped: tuple[Commit, ...]) -> Update:
        ages = zip(verdict.committers, verdict.staleness, strict=True)
        commits = tuple([self._pending.pop(worker)._replace(staleness=age) for worker, age in ages])
        returned, pulled = tuple(sorted(self._returned)), tuple(sorted(self._pulled))
        update = Update(self._port.served, commits, returned, pulled, dropped)
        self._returned.clear()
        self._pulled.clear()
        return update

    def _answer(self, verdict: Verdict) -> Iterator[Update]:
        """Answer the released workers, which continue unless their budget is used up, and start the late ones."""
        for worker in verdict.released:
            reply = self._reply(worker)
            if self._workers.left[worker]:
                self._start(worker, reply)
            else:
                self._port.send(reply)
        if verdict.joined:
            yield from self._restart(verdict.joined)

    def _reply(self, worker: int) -> str:
        """Return what the answer to a worker's commit carries: `reply` or `nothing`."""
        self._answered[worker] = (self._answered[worker] + 1) % self._fetch
        return "nothing" if self._answered[worker] else "reply"

    def _start(self, worker: int, what: str) -> None:
        """Send a worker what it continues from, and let it open a window when that arrives."""
        heappush(self._queue, self._workers.start(worker, self._port.send(what)))


def check(cluster: Cluster, load: Workload) -> list[str]:
    """Return the problems that keep this workload from running on this cluster; empty if there are none."""
    problems = [
        f"{key}={value} must be a whole number of at least {least}"
        for key, value, least in (
            ("workers", load.workers, 1),
            ("window", load.window, 1),
            ("quorum", load.synchrony.quorum, 1),
            ("bytes_up", load.bytes_up, 0),
            ("bytes_down", load.bytes_down, 0),
            ("bytes_center", load.bytes_center or 0, 0),
            ("fetch", load.synchrony.fetch, 1),
            ("seed", load.seed, 0),
        )
        if value < least
    ]
    if load.steps.shape != (load.workers,) or load.steps.min(initial=0) < 0:
        problems.append(f"steps of shape {load.steps.shape} must hold at least 0 for each of {load.workers} workers")
    if problems:
        return problems
    strange = [k for k in cluster.straggler_workers if k >= load.workers]
    if strange:
        problems.append(f"cluster.stragglers.workers={strange}: there are only the workers 0 to {load.workers - 1}")
    mean_window = cluster.step.seconds * load.window
    if mean_window > 5 * cluster.failure_s:
        problems.append(
            f"cluster.failures.mean_time_s={cluster.failure_s}: hardly any window of {mean_window:.3g} s would be "
            "completed; make optimizer.window smaller or failures rarer"
        )
    return problems + _check_trace(cluster, load)


def _check_trace(cluster: Cluster, load: Workload) -> list[str]:
    if cluster.trace is None:
        return []
    unknown = [k for k in cluster.trace if not 0 <= k < load.workers]
    problems = [f"cluster.step.trace names the workers {unknown} of {load.workers}"] if unknown else []
    for worker, steps in enumerate(load.steps.tolist()):
        have = len(cluster.trace.get(worker, ()))
        if have < steps:
            problems.append(f"cluster.step.trace has {have} steps of worker {worker}, the run needs {steps}")
    return problems
