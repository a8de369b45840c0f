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
    """One application to the center at virtual time `time_s`, with its commits ordered by worker.

    Without commits it is none, but the moment at which commits were dropped.

    The rest is what happened since the previous update, while the center was what this update changes.

    returned: workers that pulled the center to start from it, after a failure or because they start late, ordered. What
    they had computed since their last commit is lost; they take the same steps of their budget again.
    pulled: workers that fetched the center without losing their window, ordered.
    dropped: commits that were answered with the center and not applied, in the order they were served.
    left: workers that nobody waits for any more, though there are steps left of their budget.
    joined: workers that commit once more, a window of another one's budget.
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

    Local steps, uplink, a first-come-first-served queue, server work, downlink; equal times are broken by worker. An
    update is applied when the last of its commits has been served, and its committers go on when their replies have
    come down: `distopt.training.admission` says which commits these are, and who has to wait longer. A worker stops
    after its budget. A pull, after a failure or before a commit, and a commit that is dropped wait their turn in the
    queue but take no server time.

    Args:
        cluster: what takes how long.
        load: what the run asks of it.
        steps_of: called when a worker opens a window, after the update before has been taken; None: λ steps, or what
            `load` says. A worker that has returned is told in an update without commits before it is asked for.
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
        """Take in a commit and work on it; `served` is when that is done."""
        self._received = (arrival if arrival > self._received else self._received) + self._up_s
        self.served = (self._received if self._received > self.served else self.served) + seconds

    def look(self, arrival: float) -> None:
        """Take in a request for the center: it waits its turn, and is no work."""
        self.served = max(arrival, self.served)

    def send(self, what: str) -> float:
        """Send it once it is there and the port is free; return when it reaches its worker."""
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
        self._fetched: set[int] = set()  # have the center, and their commit is on its way
        self._answered = [0] * load.workers  # commits since a worker's last reply
        self._queue: list[Event] = []

    def updates(self) -> Iterator[Update]:
        """Yield the updates; what follows an update happens once the next one is asked for."""
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
        """A worker commits if the server is free or the window is full, and else goes on."""
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
        """A worker asks for the center, and commits once it has it."""
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
        """Let those go on who may, those stop whose budget is used up, and the late ones begin."""
        for worker in verdict.released:
            reply = self._reply(worker)
            if self._workers.left[worker]:
                self._start(worker, reply)
            else:
                self._port.send(reply)
        if verdict.joined:
            yield from self._restart(verdict.joined)

    def _reply(self, worker: int) -> str:
        """Return what the answer to a worker's commit brings."""
        self._answered[worker] = (self._answered[worker] + 1) % self._fetch
        return "nothing" if self._answered[worker] else "reply"

    def _start(self, worker: int, what: str) -> None:
        """Send a worker what it goes on from, and let it open a window there."""
        heappush(self._queue, self._workers.start(worker, self._port.send(what)))


def check(cluster: Cluster, load: Workload) -> list[str]:
    """Return what keeps this workload from running on this cluster; empty if nothing does."""
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
