"""The replicas of one or several runs in arrays with one row per worker, and the programs that advance them.

Worker k of run s is row s·n + k. Runs that share a fleet differ in their seeds alone. Programs read and write only the
rows concerned, and update their arrays in place. Row S·n is no worker: it pads batches, and writes to it are dropped.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.rules import Commits, Params, State, Window
from distopt.tasks import ModelState
from distopt.training.batches import Batches
from distopt.training.experiment import Experiment
from distopt.training.program_cache import quick
from distopt.training.shapes import shapes
from distopt.training.update import distances, fold, idle
from distopt.training.worker import Flight, Position, Worker


class Fleet(NamedTuple):
    """All workers of all runs; every leaf has a leading axis S·n."""

    position: Position  # where each worker's window opened, and the local state after its last computed window
    end: Params
    steps: jax.Array
    message: Any
    measured: dict[str, jax.Array]  # the metrics of each worker's last computed window
    positions: dict[str, jax.Array]  # what is recorded of where each worker's last window opened and ended
    pulled: Params
    version: jax.Array  # of the center each worker pulled last


class Central(NamedTuple):
    """The servers; every leaf has a leading axis S."""

    center: Params
    state: State
    version: jax.Array
    alive: jax.Array  # False once a commit or loss was not finite: the center is frozen from then on


class Served(NamedTuple):
    """What is recorded of a stretch of updates; every leaf has the shape (updates, S, q)."""

    staleness: jax.Array
    measured: dict[str, jax.Array]
    commit_norm: jax.Array
    distance: jax.Array
    metrics: dict[str, jax.Array]


class Programs:
    """The programs that advance a fleet, jitted. They outlive the run that made them, so they keep none of its data."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment._replace(dataset=None, shards=[], start=None)
        self.worker = Worker(experiment)
        self.begin = jax.jit(self._begin, compiler_options=quick())
        self.fly = jax.jit(self._fly, donate_argnums=0, compiler_options=quick())
        self.serve = jax.jit(self._serve, donate_argnums=(0, 1), compiler_options=quick())
        self.pull = jax.jit(self._pull, donate_argnums=0, compiler_options=quick())
        self.finish = jax.jit(self._finish, donate_argnums=0, compiler_options=quick())
        self.compiled: dict[Any, Any] = {}  # by name and shapes

    def _begin(self, params: list[Params], model: list[ModelState]) -> tuple[Fleet, Central]:
        """Return all workers and servers at version 0, from the initial values of each run."""
        n, runs, rules = self.experiment.workers, len(params), self.experiment.optimizer
        stacked: Params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
        first = Position(
            stacked,
            jax.vmap(self.experiment.local.init)(stacked),
            jax.tree.map(lambda *leaves: jnp.stack(leaves), *model),
            jax.vmap(rules.worker.init)(stacked),
        )
        rows: Position = jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf), n, axis=0), first)
        fleet = Fleet(
            position=rows,
            end=rows.params,
            steps=jnp.zeros(runs * n, jnp.int32),
            message=jax.tree.map(lambda m: jnp.zeros((runs * n, *m.shape), m.dtype), shapes(self.experiment).message),
            measured={name: jnp.zeros(runs * n) for name in self.worker.measures},
            positions={name: jnp.zeros(runs * n) for name in jax.eval_shape(self.worker.positions, *params[:1] * 2)},
            pulled=rows.params,
            version=jnp.zeros(runs * n, jnp.int32),
        )
        states = jax.vmap(lambda p: rules.server.init(p, n))(stacked)
        return fleet, Central(stacked, states, jnp.zeros(runs, jnp.int32), jnp.ones(runs, bool))

    def _fly(self, fleet: Fleet, rows: jax.Array, batches: Batches, keys: jax.Array, data: Any) -> Fleet:
        """Compute one window of each worker in `rows`, shape (w,); `keys` has one entry per run."""
        start = _rows(fleet.position, rows)
        axes = Batches(worker=0, first_step=0, steps=None, indices=0, samples=0, clock=0)
        flights = jax.vmap(self.worker.window, in_axes=(0, 0, 0, 0, axes, 0, None))(
            start.params, start.local, start.model, start.rule, batches, keys[rows // self.experiment.workers], data
        )
        put = partial(_put, rows)
        return fleet._replace(
            position=Position(
                fleet.position.params,
                put(fleet.position.local, flights.local),
                put(fleet.position.model, flights.model),
                put(fleet.position.rule, flights.rule),
            ),
            end=put(fleet.end, flights.window.end),
            steps=put(fleet.steps, jnp.broadcast_to(batches.steps, rows.shape)),
            message=put(fleet.message, flights.message),
            measured=put(fleet.measured, flights.measured),
            positions=put(fleet.positions, jax.vmap(self.worker.positions)(start.params, flights.window.end)),
        )

    def _serve(
        self, fleet: Fleet, central: Central, who: jax.Array, counts: jax.Array
    ) -> tuple[Fleet, Central, Served]:
        """Apply the next updates of each run and let the committers adopt.

        Args:
            fleet: the workers.
            central: the servers.
            who: committers of the updates, shape (updates, S, q).
            counts: number of updates of each run, shape (S,); the rest of `who` is padding.
        """
        n = self.experiment.workers
        updates, runs, q = who.shape
        rows = who + n * jnp.arange(runs)[:, None]
        messages, pulled, versions = _rows((fleet.message, fleet.pulled, fleet.version), rows)
        measured, positions = _rows((fleet.measured, fleet.positions), rows)

        def each(central: Central, x: tuple) -> tuple[Central, Any]:
            i, *rest = x
            given = [jnp.broadcast_to(i, (runs,)) < counts, *rest]
            return jax.vmap(self._update)(central, *given)

        xs = (jnp.arange(updates), who, messages, pulled, versions, measured["loss"])
        central, (replies, centers, now, record) = jax.lax.scan(each, central, xs)
        valid = jnp.arange(updates)[:, None, None] < counts[:, None]
        landing = jnp.where(valid, rows, runs * n).reshape(-1)
        replies = jax.tree.map(lambda r: r.reshape(-1, *r.shape[3:]), replies)
        centers, now = jax.tree.map(lambda c: jnp.repeat(c.reshape(-1, *c.shape[2:]), q, axis=0), (centers, now))
        fleet = self._land(fleet, landing, replies, centers, now)
        staleness, norm, distance, metrics = record
        return fleet, central, Served(staleness, measured, norm, distance, metrics | positions)

    def _update(
        self,
        central: Central,
        due: jax.Array,
        who: jax.Array,
        message: Any,
        pulled: Params,
        versions: jax.Array,
        loss: jax.Array,
    ) -> tuple[Central, Any]:
        """Apply one update of one run, if it is `due` and finite."""
        optimizer, staleness = self.experiment.optimizer, central.version - versions
        seen = None if optimizer.synchrony.barrier(self.experiment.workers) else pulled
        distance = distances(central.center, seen, len(who))
        folded = fold(optimizer, central.center, central.state, Commits(who, staleness, message, seen))
        healthy = central.alive & jnp.all(jnp.isfinite(folded.norm)) & jnp.all(jnp.isfinite(loss))
        after = Central(folded.update.center, folded.update.state, central.version + 1, healthy)
        kept = central._replace(alive=jnp.where(due, healthy, central.alive))
        central = jax.tree.map(partial(jnp.where, due & healthy), after, kept)
        reply = folded.update.replies
        if reply is None:
            reply = jax.tree.map(lambda c: jnp.broadcast_to(c, (len(who), *c.shape)), central.center)
        metrics = {k: jnp.broadcast_to(v, who.shape) for k, v in folded.update.metrics.items()}
        return central, (reply, central.center, central.version, (staleness, folded.norm, distance, metrics))

    def _land(self, fleet: Fleet, rows: jax.Array, replies: Any, centers: Params, versions: jax.Array) -> Fleet:
        """Let the workers in `rows` adopt their replies."""
        start = _rows(fleet.position, rows)
        end, steps = _rows((fleet.end, fleet.steps), rows)
        flights = Flight(Window(start.params, end, steps), start.local, start.model, start.rule)
        landed = jax.vmap(self.worker.adoption)(replies, flights)
        put = partial(_put, rows)
        position = fleet.position._replace(
            params=put(fleet.position.params, landed.params), rule=put(fleet.position.rule, landed.rule)
        )
        if self.worker.reset:
            position = position._replace(local=put(position.local, landed.local))
        return fleet._replace(
            position=position, pulled=put(fleet.pulled, centers), version=put(fleet.version, versions)
        )

    def _pull(self, fleet: Fleet, central: Central, first: Position, row: jax.Array) -> Fleet:
        """Let one worker start over from the center."""
        run = row // self.experiment.workers
        center = jax.tree.map(lambda leaf: leaf[run], central.center)
        start = first._replace(params=center, rule=self.experiment.optimizer.worker.init(center))
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (start, center))
        put = partial(_put, row[None])
        return fleet._replace(
            position=put(fleet.position, one[0]),
            pulled=put(fleet.pulled, one[1]),
            version=put(fleet.version, central.version[run][None]),
        )

    def _finish(self, central: Central, run: jax.Array, updates: jax.Array) -> Central:
        """Apply what the rule of one run still keeps, by `updates` updates without commits."""
        state, center = jax.tree.map(lambda leaf: leaf[run], (central.state, central.center))
        message = shapes(self.experiment).message
        moved, _ = idle(self.experiment.optimizer, center, state, message, updates, self.experiment.quorum)
        return central._replace(center=jax.tree.map(lambda leaf, value: leaf.at[run].set(value), central.center, moved))


def _rows(tree: Any, rows: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="clip"), tree)


def _put(rows: jax.Array, tree: Any, values: Any) -> Any:
    return jax.tree.map(lambda leaf, value: leaf.at[rows].set(value, mode="drop"), tree, values)
