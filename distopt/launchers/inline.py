"""Training in this process in a given commit order and on a given clock: the loop behind `sim` and `replay`."""

from collections.abc import Iterable
from typing import Any

from distopt.cluster import Commit, Update
from distopt.errors import DistoptError
from distopt.evaluation import Evaluator, reached
from distopt.experiment import Experiment
from distopt.launchers import Interrupted, Launch, News, Outcome, Watch
from distopt.replica import Flight, Itinerary, Position, Replica, shapes
from distopt.server import Applied, Delivery, Diverged, Server
from distopt.trees import named, tree_bytes


def train(experiment: Experiment, order: Iterable[Update], watch: Watch, interrupted: Interrupted) -> Launch:
    """Train in the order and on the clock that `order` gives.

    Raises:
        DistoptError: the order is not one a run can have.
    """
    watch.enter("compile")
    replica = Replica(experiment)
    server = Server(experiment.optimizer, replica.params, experiment.workers)
    server.warm_up(shapes(experiment).message)
    judge = Judge(experiment, Evaluator(experiment, replica.model_state), watch)
    fleet = Fleet(experiment, replica)
    yield News([], judge(server, 0.0))
    now = 0.0
    watch.enter("train")
    for update in order:
        try:
            applied = fleet.apply(update, server)
        except Diverged as error:
            return Outcome("diverged", str(error), named(server.center), {"virtual_s": now})
        if applied is None:  # the order splits the commits of one update
            continue
        now = update.time_s
        judge.samples += sum(row["samples"] for row in applied.rows)
        due = applied.version % experiment.evaluate_every == 0
        yield News(applied.rows, judge(server, now) if due else [])
        if interrupted():
            return Outcome("interrupted", f"after update {applied.version}", named(server.center), {"virtual_s": now})
        if judge.reason or judge.ends(applied.version, now):
            break
    yield News([], judge(server, now))
    status = "stopped" if judge.reason else "done"
    return Outcome(status, judge.reason, named(server.center), {"virtual_s": now})


class Judge:
    """Evaluates the center off the clock, and says when a stop criterion is met."""

    def __init__(self, experiment: Experiment, evaluate: Evaluator, watch: Watch) -> None:
        self.reason: str | None = None
        self.samples = 0
        self._stop = experiment.config["stop"]
        self._evaluate = evaluate
        self._watch = watch
        self._evaluated = -1

    def __call__(self, server: Server, time_s: float) -> list[dict[str, Any]]:
        """Return the rows of an evaluation of the center as it is; none if that was done already."""
        if self._evaluated == server.version:
            return []
        phase = self._watch.enter("evaluate")
        rows = self._evaluate(server.center, update=server.version, time_s=time_s, samples=self.samples)
        self._evaluated = server.version
        self.reason = self.reason or reached(self._stop, rows)
        self._watch.enter(phase)
        return rows

    def ends(self, version: int, time_s: float) -> bool:
        """Return whether updates or seconds are used up."""
        if self._stop["updates"] is not None and version >= self._stop["updates"]:
            self.reason = f"stop.updates={self._stop['updates']} reached"
        elif self._stop["seconds"] is not None and time_s >= self._stop["seconds"]:
            self.reason = f"stop.seconds={self._stop['seconds']} reached"
        return self.reason is not None


class Fleet:
    """The workers of a run: where each of them is, and the commit it has ready."""

    def __init__(self, experiment: Experiment, replica: Replica) -> None:
        self.experiment = experiment
        self.replica = replica
        self.itineraries = [Itinerary(experiment, worker) for worker in range(experiment.workers)]
        self.positions: list[Position | None] = [None] * experiment.workers
        self.flights: dict[int, Flight] = {}
        self.sequence = [0] * experiment.workers

    def apply(self, update: Update, server: Server) -> Applied | None:
        """Compute the windows of an update's commits, deliver them, and let the committers go on.

        Raises:
            Diverged: a commit is not finite.
            DistoptError: the order is not one a run can have.
        """
        for worker in update.returned:  # its window is lost, it starts over from the center as it is now
            server.pull(worker)
            self.positions[worker] = self.replica.begin()._replace(params=server.center)
        applied = None
        for commit in update.commits:
            applied = server.deliver(self._delivery(commit, server))
        if applied is None:
            return None
        times = {commit.worker: commit.server_s for commit in update.commits}
        for row in applied.rows:
            reply = applied.replies[row["worker"]]
            row |= {"time_s": update.time_s, "server_s": times.get(row["worker"], 0.0), "bytes_down": tree_bytes(reply)}
            self.positions[row["worker"]] = self.replica.land(reply, self.flights.pop(row["worker"]))
        return applied

    def _delivery(self, commit: Commit, server: Server) -> Delivery:
        """Compute a worker's next window and wrap its commit.

        Raises:
            DistoptError: the worker does not exist, has used up its budget, or still waits for a reply.
        """
        worker = commit.worker
        if not 0 <= worker < self.experiment.workers:
            raise DistoptError(f"the commit order names worker {worker}, but the run has {self.experiment.workers} workers")
        if worker in self.flights:
            raise DistoptError(f"worker {worker} commits twice within one update (after update {server.version})")
        itinerary = self.itineraries[worker]
        if itinerary.remaining <= 0:
            raise DistoptError(
                f"the commit order has more windows of worker {worker} than its budget of {itinerary.budget} local steps "
                "allows: raise epochs, or set epochs=null"
            )
        batches = itinerary.next()
        flight = self.replica.fly(self.positions[worker] or self.replica.begin(), batches)
        self.flights[worker] = flight
        self.sequence[worker] += 1
        loss, accuracy = float(flight.loss), float(flight.accuracy)
        return Delivery(
            worker=worker,
            sequence=self.sequence[worker],
            message=flight.message,
            steps=int(batches.steps),
            samples=int(batches.steps) * self.experiment.batch_size if self.experiment.dataset else 0,
            loss=loss,
            accuracy=accuracy,
            compute_s=commit.compute_s,
            exchange_s=commit.exchange_s,
            bytes_up=tree_bytes(flight.message),
            last=itinerary.remaining <= 0,
        )
