"""Device work of one or several runs that differ only in seed, done together: windows in batches, updates in stretches.

Windows in flight are independent of each other: a window depends only on what its worker adopted. Runs request work and
wait. Once all of them wait, the pool computes all requests together.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distopt.cluster import Update
from distopt.launchers.inprocess.vectorized.programs import Central, Fleet, Programs, Served
from distopt.records import Watch
from distopt.rules import Params
from distopt.training.batches import Batches, Itinerary
from distopt.training.experiment import Experiment
from distopt.training.program_cache import shared
from distopt.training.shapes import shapes
from distopt.training.worker_programs import Replica

STRETCH = 1024  # updates applied in one go, at most
COMPILERS = ThreadPoolExecutor(2, thread_name_prefix="compile")


def power_of_four(number: int) -> int:
    """Return the largest power of four up to a number: batches have few sizes, because each needs its own program."""
    return 4 ** ((number.bit_length() - 1) // 2)


def chunks(items: list[Any], most: int) -> Iterator[list[Any]]:
    """Split a list into batches of few sizes, none of them padded."""
    while items:
        size = min(most, power_of_four(len(items)))
        yield items[:size]
        items = items[size:]


class Recorded(NamedTuple):
    """What is recorded of a stretch of a run's updates; it may not be computed yet."""

    served: Served
    run: int
    updates: int

    def read(self) -> dict[str, np.ndarray]:
        """Wait until it is computed, and return one array of shape (updates, q) for each column."""
        columns = {**self.served._asdict(), **self.served.measured, **self.served.metrics}
        del columns["measured"], columns["metrics"]
        return {name: np.asarray(leaf)[: self.updates, self.run] for name, leaf in columns.items()}


class Pool:
    """All replicas and servers of `experiments`, in batches of up to `most` windows."""

    def __init__(self, experiments: Sequence[Experiment], replicas: Sequence[Replica], watch: Watch, most: int) -> None:
        self._workers = experiments[0].workers
        self._replicas = replicas
        self._watch = watch
        self._most = most
        self._result = experiments[0].optimizer.result
        self._programs: Programs = shared(
            experiments[0], f"fleet of {len(experiments)}", lambda: Programs(experiments[0])
        )
        self._keys = jnp.stack([replica.step_key for replica in replicas])
        self._flights: list[tuple[int, Itinerary]] = []
        self._stretches: dict[int, list[Update]] = {}
        self._served: dict[int, Recorded] = {}
        self._prepare(experiments[0])
        initial = [replica.params for replica in replicas], [replica.model_state for replica in replicas]
        self._fleet: Fleet
        self._central: Central
        self._fleet, self._central = self._call("begin", *initial)

    def result(self, run: int) -> Params:
        """Return the center of a run, or the optimizer's `Result`, after the updates applied so far."""
        result = self._result
        of_all = self._central.center if result is None else self._central.state
        of_run = jax.tree.map(lambda leaf: leaf[run], of_all)
        return of_run if result is None else result.of(of_run)

    def save(self) -> dict[str, Any]:
        """Return the arrays of all workers and servers; no request may be open."""
        return {"fleet": self._fleet, "central": self._central}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Restore what `save` returned."""
        self._fleet, self._central = saved["fleet"], saved["central"]

    def fly(self, run: int, itineraries: Sequence[Itinerary]) -> None:
        """Request the next windows of some workers of a run."""
        self._flights += [(run * self._workers + itinerary.worker, itinerary) for itinerary in itineraries]

    def serve(self, run: int, updates: list[Update]) -> None:
        """Request the next updates of a run, all with equally many commits, and no worker in two of them."""
        self._stretches[run] = updates

    def served(self, run: int) -> Recorded | None:
        """Return what is recorded of the requested updates; None if they are not applied yet."""
        return self._served.pop(run, None)

    def flying(self, run: int) -> bool:
        """Return whether windows of a run are requested and not started."""
        return any(row // self._workers == run for row, _ in self._flights)

    def pull(self, run: int, worker: int) -> None:
        """Let a worker of a run start over from the run's center."""
        first, row = self._replicas[run].begin(), np.int32(run * self._workers + worker)
        self._fleet = self._call("pull", self._fleet, self._central, first, row)

    def finish(self, run: int, updates: int) -> None:
        """Apply what the rule of a run still keeps, by `updates` updates without commits."""
        self._central = self._call("finish", self._central, np.int32(run), np.int32(updates))

    def work(self) -> None:
        """Compute the requests: windows first, so that the runs that wait for them can request updates as well."""
        if self._flights:
            self._fly()
        else:
            self._serve()

    def _fly(self) -> None:
        by_steps: dict[int, list[tuple[int, Itinerary]]] = {}
        for row, itinerary in sorted(self._flights, key=lambda flight: flight[0]):
            by_steps.setdefault(itinerary.ahead, []).append((row, itinerary))
        self._flights = []
        for steps, flights in by_steps.items():
            for some in chunks(flights, self._most):
                each = [itinerary.next() for _, itinerary in some]
                rows = np.array([row for row, _ in some], np.int32)
                stacked: Batches = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
                batches = stacked._replace(steps=np.int32(steps))
                self._fleet = self._call("fly", self._fleet, rows, batches, self._keys, self._replicas[0].data)

    def _serve(self) -> None:
        by_quorum: dict[int, list[int]] = {}
        for run, updates in self._stretches.items():
            by_quorum.setdefault(len(updates[0].commits), []).append(run)
        for q, runs in by_quorum.items():
            counts = np.zeros(len(self._replicas), np.int32)
            counts[runs] = [len(self._stretches[run]) for run in runs]
            who = np.zeros((_padded(int(counts.max())), len(counts), q), np.int32)
            for run in runs:
                who[: counts[run], run] = [[c.worker for c in update.commits] for update in self._stretches[run]]
            self._fleet, self._central, served = self._call("serve", self._fleet, self._central, who, counts)
            self._served |= {run: Recorded(served, run, int(counts[run])) for run in runs}
        self._stretches = {}

    def _prepare(self, experiment: Experiment) -> None:
        """Start to compile, side by side, the programs that most runs need first."""
        layout, replica, runs = shapes(experiment), self._replicas[0], len(self._replicas)
        initial = [layout.params] * runs, [jax.eval_shape(lambda: replica.model_state)] * runs
        fleet, central = jax.eval_shape(self._programs.begin, *initial)
        w = min(self._most, power_of_four(runs * self._workers))
        one = Itinerary(experiment, 0).next()
        batches: Batches = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((w, *leaf.shape), leaf.dtype), one)
        batches, each = batches._replace(steps=jax.ShapeDtypeStruct((), np.int32)), batches.worker
        updates = min(self._workers // experiment.quorum, experiment.evaluate_every)
        who = jax.ShapeDtypeStruct((_padded(updates), runs, experiment.quorum), np.int32)
        counts = jax.ShapeDtypeStruct((runs,), np.int32)
        self._compile("fly", fleet, each, batches, self._keys, replica.data)
        self._compile("serve", fleet, central, who, counts)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a program; the wait until it is compiled counts as the phase `compile`."""
        program = self._compile(name, *arguments)
        if not program.done():
            phase = self._watch.enter("compile")
            program.result()
            self._watch.enter(phase)
        return program.result()(*arguments)

    def _compile(self, name: str, *arguments: Any) -> Future[Any]:
        """Return the program `name` for arguments of these shapes, as a future of its compilation."""
        key = (name, *(leaf.shape for leaf in jax.tree.leaves(arguments)))
        compiled = self._programs.compiled
        if key not in compiled:
            jitted = getattr(self._programs, name)
            compiled[key] = COMPILERS.submit(lambda: jitted.lower(*arguments).compile())
        return compiled[key]


def _padded(updates: int) -> int:
    """Return the padded length of a program for that many updates: the next power of four."""
    size = power_of_four(updates)
    return size if size == updates else 4 * size
