"""One window at a time, with the very programs a real worker runs: bit-identical to it on the same machine."""

from typing import Any

from distopt.cluster import Commit, Update
from distopt.experiment import Experiment
from distopt.launchers import Watch
from distopt.programs import shared
from distopt.replica import Flight, Itinerary, Position, Replica, shapes
from distopt.rules import Params
from distopt.server import Delivery, Diverged, Server, compile_fold
from distopt.trees import tree_bytes


class Single:
    """Computes a worker's window when its commit is due; see `distopt.launchers.inline.Engine`."""

    def __init__(self, experiment: Experiment, replica: Replica, watch: Watch) -> None:
        del watch  # everything is compiled here, before training
        self.samples = 0
        self.diverged: str | None = None
        self._experiment = experiment
        self._replica = replica
        program = shared(experiment, "fold", lambda: compile_fold(experiment.optimizer))
        self._server = Server(experiment.optimizer, replica.params, experiment.workers, program)
        self._server.warm_up(shapes(experiment).message)
        replica.warm_up()
        self._itineraries = [Itinerary(experiment, worker) for worker in range(experiment.workers)]
        self._positions: list[Position | None] = [None] * experiment.workers
        self._flights: dict[int, Flight] = {}
        self._sequence = [0] * experiment.workers

    @property
    def version(self) -> int:
        """Return the number of updates taken."""
        return self._server.version

    @property
    def center(self) -> Params:
        """Return the center after them."""
        return self._server.center

    def flush(self) -> list[dict[str, Any]]:
        """Return nothing: every update is applied when it is taken."""
        return []

    def take(self, update: Update) -> list[dict[str, Any]]:
        """Compute the windows of an update's commits, deliver them, and let the committers go on."""
        for worker in update.returned:  # its window is lost, it starts over from the center as it is now
            self._server.pull(worker)
            self._positions[worker] = self._replica.begin()._replace(params=self._server.center)
        applied = None
        try:
            for commit in update.commits:
                applied = self._server.deliver(self._delivery(commit))
        except Diverged as error:
            self.diverged = str(error)
        if applied is None:  # diverged, or the order gives the commits of an update one by one
            return []
        server_s = {commit.worker: commit.server_s for commit in update.commits}
        for row in applied.rows:
            worker = row["worker"]
            reply = applied.replies[worker]
            row |= {"time_s": update.time_s, "server_s": server_s.get(worker, 0.0), "bytes_down": tree_bytes(reply)}
            self.samples += row["samples"]
            self._positions[worker] = self._replica.land(reply, self._flights.pop(worker))
        return applied.rows

    def _delivery(self, commit: Commit) -> Delivery:
        """Compute a worker's next window and wrap its commit."""
        worker = commit.worker
        itinerary = self._itineraries[worker]
        batches = itinerary.next()
        flight = self._replica.fly(self._positions[worker] or self._replica.begin(), batches)
        self._flights[worker] = flight
        self._sequence[worker] += 1
        loss, accuracy = float(flight.loss), float(flight.accuracy)
        return Delivery(
            worker=worker,
            sequence=self._sequence[worker],
            message=flight.message,
            steps=int(batches.steps),
            samples=int(batches.steps) * self._experiment.batch_size if self._experiment.dataset else 0,
            loss=loss,
            accuracy=accuracy,
            compute_s=commit.compute_s,
            exchange_s=commit.exchange_s,
            bytes_up=tree_bytes(flight.message),
            last=itinerary.remaining <= 0,
            positions=self._replica.whereabouts(flight),
        )
