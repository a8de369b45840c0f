"""Training in this process in a given commit order and on a given clock: the loop behind `sim` and `replay`."""

from collections.abc import Generator, Iterable, Mapping
from itertools import islice
from typing import Any, Protocol

import numpy as np

from distopt.cluster import Update
from distopt.records import Checkpoint, Event, Interrupted, News, Outcome, Training, Watch
from distopt.rules import DistributedOptimizer, Params
from distopt.runs.checkpoints import Due, pack
from distopt.training.batches import Itinerary
from distopt.training.evaluation import Evaluator, reached
from distopt.training.experiment import Experiment
from distopt.training.flops import product_rate
from distopt.training.worker_programs import Replica
from distopt.trees import named

Rows = list[dict[str, Any]]
Taking = Generator[News, None, Rows]
NOTHING = News([], [])  # yielded by an engine that waits for work it shares with other runs


class Engine(Protocol):
    """Applies updates in a given order; it may hold some back to compute them together.

    Rows may come later than their update: `flush` returns the rest.
    """

    samples: int  # in the windows of the updates taken
    diverged: str | None  # why training ended early
    events: list[Event]  # since the last update taken

    @property
    def steady(self) -> bool:
        """Return whether a flush now would change nothing that follows."""

    @property
    def version(self) -> int:
        """Return the number of updates taken."""

    @property
    def result(self) -> Params:
        """Return the center, or the optimizer's `Result`, after the updates applied so far."""

    def take(self, update: Update) -> Taking:
        """Take the next update; return the rows of earlier ones that are ready."""

    def flush(self) -> Taking:
        """Apply the updates held back; return all rows that were not returned yet."""

    def finish(self) -> None:
        """Right after a flush, when training is over, apply what the rule still keeps."""

    def save(self) -> tuple[Any, dict[str, Any]]:
        """Return the state right after a flush, for `load`: a tree of arrays, and numbers for JSON."""

    def load(self, arrays: Mapping[str, np.ndarray], numbers: Mapping[str, Any]) -> None:
        """Restore what `save` returned; the arrays are given by their paths in the tree."""


def train(
    experiment: Experiment,
    order: Iterable[Update],
    engine: Engine,
    replica: Replica,
    watch: Watch,
    interrupted: Interrupted,
    *,
    finishes: bool = True,
) -> Training:
    """Train in the order and on the clock that `order` gives, from the experiment's checkpoint if it has one.

    At the end what the rule keeps is applied, unless training diverged, or `finishes` says that the order breaks off.
    Checkpoints change nothing that is computed: they are taken where the engine is flushed anyway, or where a flush
    changes nothing that follows.
    """
    watch.enter("compile")
    judge = Judge(experiment, Evaluator(experiment, replica.model_state), watch)
    now, taken = 0.0, 0
    if start := experiment.start:
        now, taken, judge.evaluated = start.time_s, start.numbers["taken"], start.numbers["evaluated"]
        engine.load(start.arrays, start.numbers["engine"])
    else:
        yield News([], judge(engine, now))
    due = Due(experiment.config["checkpoint"], engine.version)
    watch.enter("train")
    for update in islice(order, taken, None):
        if interrupted():
            judge.reason = "stopped by a signal"
            break
        rows = yield from engine.take(update)
        now, taken = update.time_s, taken + 1
        evals: Rows = []
        events = [event.row() for event in engine.events]
        evaluates = judge.ends(engine.version, now) or engine.version % experiment.evaluate_every == 0
        keeps = due(engine.version) and (evaluates or engine.steady)  # asked once: time passes while news are written
        if evaluates or keeps:
            rows += yield from engine.flush()
        if evaluates and not engine.diverged:
            evals = judge(engine, now)
        if rows or evals or events:
            yield News(rows, evals, events=events)
        if judge.reason or engine.diverged:
            break
        if keeps:
            arrays, numbers = engine.save()
            numbers = {"engine": numbers, "taken": taken, "evaluated": judge.evaluated, "seconds": watch.spent()}
            yield News([], [], checkpoint=Checkpoint(engine.version, now, pack(arrays), numbers))
            due.taken(engine.version)
    rows = yield from engine.flush()
    yield News(rows, [])
    if not engine.diverged:
        if finishes:
            engine.finish()
        yield News([], judge(engine, now))
    status = "interrupted" if interrupted() else "stopped" if judge.reason else "done"
    return Outcome(
        "diverged" if engine.diverged else status,
        engine.diverged or judge.reason,
        named(engine.result),
        {"virtual_s": now, "product_flops_per_s": product_rate()},
    )


def returned(
    rules: DistributedOptimizer,
    update: Update,
    version: int,
    itinerary: Itinerary,
    sequence: int,
    *,
    kept: bool = False,
) -> Event:
    """Return the event of a worker that starts from the current center, late or because it lost its window."""
    late = bool(rules.synchrony.start_after) and sequence == 0
    return Event(
        version,
        update.time_s,
        itinerary.worker,
        "returned",
        "it starts late" if late else "it failed, and lost the window it was in",
        0 if late else itinerary.ahead,
        sequence,
        itinerary.worker,
        itinerary.step,
        int(kept),
    )


class Judge:
    """Evaluates the engine's result off the clock, and says when a stop criterion is met."""

    def __init__(self, experiment: Experiment, evaluate: Evaluator, watch: Watch) -> None:
        self.reason: str | None = None
        self._stop, self._goals = experiment.config["stop"], experiment.goals
        self._evaluate = evaluate
        self._watch = watch
        self.evaluated = -1  # the last update with an evaluation

    def __call__(self, engine: Engine, time_s: float) -> list[dict[str, Any]]:
        """Return the rows of an evaluation of the current result; none if this version was evaluated already."""
        if self.evaluated == engine.version:
            return []
        phase = self._watch.enter("evaluate")
        rows = self._evaluate(engine.result, update=engine.version, time_s=time_s, samples=engine.samples)
        self.evaluated = engine.version
        self.reason = self.reason or reached(self._goals, rows)
        self._watch.enter(phase)
        return rows

    def ends(self, version: int, time_s: float) -> bool:
        """Return whether training ends: `stop.updates` or `stop.seconds` is reached, or an evaluation met a target."""
        if self._stop["updates"] is not None and version >= self._stop["updates"]:
            self.reason = f"stop.updates={self._stop['updates']} reached"
        elif self._stop["seconds"] is not None and time_s >= self._stop["seconds"]:
            self.reason = f"stop.seconds={self._stop['seconds']} reached"
        return self.reason is not None
