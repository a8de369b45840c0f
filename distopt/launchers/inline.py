"""Training in this process in a given commit order, one window at a time: the loop behind `replay`."""

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from distopt.errors import DistoptError
from distopt.evaluation import Evaluator, reached
from distopt.experiment import Experiment
from distopt.launchers import Interrupted, Launch, News, Outcome, Watch, named, tree_bytes
from distopt.replica import Flight, Itinerary, Position, Replica
from distopt.server import Delivery, Diverged, Server


class Arrival(NamedTuple):
    """One commit reaching the server."""

    worker: int
    time_s: float


def train(experiment: Experiment, arrivals: Iterable[Arrival], watch: Watch, interrupted: Interrupted) -> Launch:
    """Train in the order of `arrivals`; the clock is theirs.

    Raises:
        DistoptError: the order is not one a run can have.
    """
    watch.enter("compile")
    replica = Replica(experiment)
    server = Server(experiment.optimizer, replica.params, experiment.workers)
    evaluate = Evaluator(experiment, replica.model_state)
    fleet = Fleet(experiment, replica)
    stop, samples, now = experiment.config["stop"], 0, 0.0
    rows = evaluate(server.center, update=0, time_s=0.0, samples=0)
    yield News([], rows)
    evaluated, ended = 0, None
    watch.enter("train")
    for arrival in arrivals:
        try:
            applied = server.deliver(fleet.delivery(arrival.worker, server))
        except Diverged as error:
            return Outcome("diverged", str(error), named(server.center), {})
        if applied is None:
            continue
        now = arrival.time_s
        for row in applied.rows:
            row |= {"time_s": now, "server_s": 0.0, "bytes_down": tree_bytes(applied.replies[row["worker"]])}
            samples += row["samples"]
        for worker, reply in applied.replies.items():
            fleet.land(worker, reply)
        rows = []
        if applied.version % experiment.evaluate_every == 0:
            watch.enter("evaluate")
            rows = evaluate(server.center, update=applied.version, time_s=now, samples=samples)
            evaluated = applied.version
            ended = reached(stop, rows)
            watch.enter("train")
        yield News(applied.rows, rows)
        if interrupted():
            return Outcome("interrupted", f"after update {applied.version}", named(server.center), {})
        if stop["updates"] is not None and applied.version >= stop["updates"]:
            ended = ended or f"stop.updates={stop['updates']} reached"
        if ended:
            break
    watch.enter("evaluate")
    if evaluated < server.version:
        yield News([], evaluate(server.center, update=server.version, time_s=now, samples=samples))
    return Outcome("stopped" if ended else "done", ended, named(server.center), {})


class Fleet:
    """The workers of a run: where each of them is, and the commit it has ready."""

    def __init__(self, experiment: Experiment, replica: Replica) -> None:
        self.experiment = experiment
        self.replica = replica
        self.itineraries = [Itinerary(experiment, worker) for worker in range(experiment.workers)]
        self.positions: list[Position | None] = [None] * experiment.workers
        self.flights: dict[int, Flight] = {}
        self.sequence = [0] * experiment.workers

    def delivery(self, worker: int, server: Server) -> Delivery:
        """Compute a worker's next window and wrap its commit.

        Raises:
            DistoptError: the worker does not exist, has used up its budget, or still waits for a reply.
        """
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
        began = time.perf_counter()
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
            compute_s=time.perf_counter() - began,
            exchange_s=0.0,
            bytes_up=tree_bytes(flight.message),
            last=itinerary.remaining <= 0,
        )

    def land(self, worker: int, reply: Any) -> None:
        """Let a worker adopt the reply to its commit."""
        self.positions[worker] = self.replica.land(reply, self.flights.pop(worker))
