"""An engine that computes one window at a time, with the programs of a real worker: bit-identical on the same machine.

Only rows wait for results, and they are read a few updates later: while the device computes, Python prepares the next
windows.
"""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from distopt.cluster import Commit, Update
from distopt.launchers.inprocess.loop import Rows, Taking, returned
from distopt.records import Event
from distopt.rules import Params
from distopt.runs.checkpoints import unpack
from distopt.training.batches import Itinerary
from distopt.training.experiment import Experiment
from distopt.training.messages import Applied, Delivery, Diverged
from distopt.training.program_cache import shared
from distopt.training.server import Server
from distopt.training.shapes import shapes, traffic
from distopt.training.update import compile_fold
from distopt.training.worker import Flight, Kept, Position
from distopt.training.worker_programs import Replica

AHEAD = 4  # updates whose rows have not been read; each keeps the center before it alive


class Single:
    """Computes a worker's window when its commit is due; see `distopt.launchers.inprocess.loop.Engine`."""

    def __init__(self, experiment: Experiment, replica: Replica) -> None:
        self.samples = 0
        self.diverged: str | None = None
        self.events: list[Event] = []
        self._experiment = experiment
        self._replica = replica
        program = shared(experiment, "fold", lambda: compile_fold(experiment.optimizer))
        self._server = Server(
            experiment.optimizer, replica.params, experiment.workers, program, guarded=experiment.guarded
        )
        layout = shapes(experiment)
        self._rule, self._synchrony = experiment.optimizer.worker, experiment.optimizer.synchrony
        self._traffic = traffic(layout, self._synchrony)
        self._server.warm_up(layout.message)
        replica.warm_up()
        self._itineraries = [Itinerary(experiment, worker) for worker in range(experiment.workers)]
        self._positions: list[Position | None] = [None] * experiment.workers
        self._flights: dict[int, Flight] = {}
        self._fetched: dict[int, Params] = {}  # centers that workers pulled for their next commit
        self._ahead: dict[int, Flight] = {}  # windows computed before their commit is due, to see their steps
        self._lengths: list[int] = []  # steps of these windows, in the order asked for
        self._known: deque[int] = deque()  # lengths from before the checkpoint, which the order asks for again
        self._sequence = [0] * experiment.workers
        self._kept: set[int] = set()  # workers that will return with the local state of their last commit
        self._unread: deque[tuple[Update, Applied]] = deque()

    @property
    def version(self) -> int:
        """Return the number of updates taken."""
        return self._server.version

    @property
    def result(self) -> Params:
        """Return the center, or the optimizer's `Result`, after the updates taken."""
        return self._server.result

    @property
    def steady(self) -> bool:
        """Return whether no commit waits for its quorum."""
        return not self._server.pending

    def save(self) -> tuple[Any, dict[str, Any]]:
        """Return the server, the workers and their places in their budgets."""
        server, numbers = self._server.save()
        flying = self._ahead.keys() | self._flights.keys()  # their positions were donated
        begun = {k: position for k, position in enumerate(self._positions) if position and k not in flying}
        workers = {"begun": begun, "fetched": self._fetched, "ahead": self._ahead, "flights": self._flights}
        return workers | {"server": server}, {
            "server": numbers,
            "workers": {name: list(each) for name, each in workers.items()},
            "lengths": self._lengths,
            "samples": self.samples,
            "sequence": list(self._sequence),
            "kept": sorted(self._kept),
            "itineraries": [itinerary.save() for itinerary in self._itineraries],
        }

    def load(self, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        begin = self._replica.begin()
        flight = jax.eval_shape(self._replica.fly, begin, Itinerary(self._experiment, 0).next())
        made = jax.eval_shape(self._replica.commit, flight, begin.params) if self._rule.pull else flight
        likes = {"begun": begin, "fetched": begin.params, "ahead": flight, "flights": made}
        like = {name: dict.fromkeys(workers, likes[name]) for name, workers in numbers["workers"].items()}
        tree = unpack(like | {"server": self._server.save()[0]}, arrays)
        self._server.load(tree["server"], numbers["server"])
        for worker, position in tree["begun"].items():
            self._positions[worker] = position
        self._fetched, self._ahead, self._flights = tree["fetched"], tree["ahead"], tree["flights"]
        self._lengths, self._known = list(numbers["lengths"]), deque(numbers["lengths"])
        self.samples, self._sequence = numbers["samples"], list(numbers["sequence"])
        self._kept = set(numbers["kept"])
        for itinerary, saved in zip(self._itineraries, numbers["itineraries"], strict=True):
            itinerary.load(saved)

    def flush(self) -> Taking:
        """Return the rows of all updates that have not been read."""
        return self._read(0)
        yield  # makes this a generator; it never waits for other runs

    def steps_of(self, worker: int) -> int:
        """Return the steps of a window that begins now and may end early; only computing the window shows them."""
        if self._known:
            return self._known.popleft()
        self._ahead[worker] = flight = self._fly(worker, self._itineraries[worker])
        self._lengths.append(int(flight.window.steps))
        return self._lengths[-1]

    def take(self, update: Update) -> Taking:
        """Compute the windows of an update's commits, deliver them, and let the answered workers continue."""
        self.events = []
        self._deliver(update, update.dropped)  # before workers return: one that has just pulled is not late
        for worker in update.returned:  # its window is lost; it starts over from the current center
            self._positions[worker] = self._return(worker)
            if self._ahead.pop(worker, None):
                self._itineraries[worker].back()
            itinerary, sequence = self._itineraries[worker], self._sequence[worker]
            rules, kept = self._experiment.optimizer, worker in self._kept
            self.events.append(returned(rules, update, self.version, itinerary, sequence, kept=kept))
        for worker in update.left:
            self._note(update, worker, "orphaned", worker, self._itineraries[worker].step)
        for applied in self._server.lose(update.left):
            self._land(update, applied)
        for worker, owner, first in update.joined:
            self._server.join(worker)
            self._note(update, worker, "taken over", owner, first)
        for worker in update.pulled:
            self._fetched[worker] = self._server.pull(worker)
        self._deliver(update, update.commits)
        return self._read(AHEAD)
        yield  # see above

    def _note(self, update: Update, worker: int, kind: str, owner: int, first_step: int) -> None:
        """Record an event of the order."""
        told = (self.version, update.time_s, worker, kind, "", 0, self._sequence[worker], owner, first_step)
        self.events.append(Event(*told))

    def _return(self, worker: int) -> Position:
        """Let a worker start over from the current center, with the local state of its last commit if kept."""
        center, position = self._server.pull(worker), self._positions[worker]
        if worker not in self._kept:
            return self._replica.begin(center)
        if flight := self._flights.pop(worker, None):
            return self._replica.begin(center, flight.kept)
        assert position, "it has returned before, with no commit since"
        return self._replica.begin(center, Kept(*position[1:]))

    def finish(self) -> None:
        """Apply what the rule still keeps."""
        self._server.finish()

    def _deliver(self, update: Update, commits: Sequence[Commit]) -> None:
        """Deliver commits; the order may give the commits of an update together or one by one."""
        for commit in commits:
            applied = self._server.deliver(self._delivery(commit))
            if applied is not None:
                self._land(update, applied)

    def _land(self, update: Update, applied: Applied) -> None:
        """Let the answered workers continue, and keep what is to be recorded."""
        for worker, reply in applied.replies.items():
            go_on = self._replica.start_over if worker in self._server.refused else self._replica.land
            if worker not in self._kept:
                self._positions[worker] = go_on(reply, self._flights.pop(worker))
        self.samples += applied.samples
        for d in applied.deliveries:
            if not self._synchrony.answered(d.sequence) and d.worker not in self._server.refused | self._kept:
                self._positions[d.worker] = self._replica.stay(self._flights.pop(d.worker))
        self._unread.append((update, self._server.measure(applied)))

    def _read(self, most: int) -> Rows:
        """Return the rows of the oldest updates until at most `most` are unread; stop at one that diverged."""
        rows: Rows = []
        while len(self._unread) > most and not self.diverged:
            update, applied = self._unread.popleft()
            work = defaultdict(float, {commit.worker: commit.server_s for commit in update.commits})
            try:
                rows += self._server.rows(applied, update.time_s, work.__getitem__, self._traffic.down)
            except Diverged as error:
                self.diverged = str(error)
                break
        return rows

    def _delivery(self, commit: Commit) -> Delivery:
        """Compute a worker's next window and wrap its commit."""
        worker, itinerary = commit.worker, self._itineraries[commit.worker]
        (self._kept.add if commit.kept else self._kept.discard)(worker)
        if commit.share is not None:
            itinerary = Itinerary(self._experiment, *commit.share)
        flight = self._ahead.pop(worker, None) or self._fly(worker, itinerary, commit.steps)
        if self._rule.pull:  # an order without pulls means a pull right before each commit
            center = self._fetched.pop(worker, None)
            flight = self._replica.commit(flight, self._server.pull(worker) if center is None else center)
        self._flights[worker] = flight
        self._sequence[worker] += 1
        return Delivery(
            worker=worker,
            sequence=self._sequence[worker],
            message=flight.message,
            steps=itinerary.last,
            samples=itinerary.last * self._experiment.batch_size if self._experiment.dataset else 0,
            measured=flight.measured,
            compute_s=commit.compute_s,
            exchange_s=commit.exchange_s,
            bytes_up=self._traffic.up,
            last=itinerary.remaining <= 0 or commit.share is not None,
            columns=self._replica.columns(flight),
        )

    def _fly(self, worker: int, itinerary: Itinerary, steps: int = 0) -> Flight:
        """Compute a worker's next window, of at most `steps` steps if that is not 0."""
        flight = self._replica.fly(self._positions[worker] or self._replica.begin(), itinerary.next(steps))
        if flight.ended is not None:
            itinerary.stop(int(flight.window.steps))
        return flight
