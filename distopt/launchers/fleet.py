"""Many replicas in arrays with one row per worker, and the programs that advance them.

Programs read and write only the rows concerned, and update their arrays in place.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.experiment import Experiment
from distopt.replica import Batches, Flight, Position, Replica
from distopt.rules import Commits, Params, State, Window
from distopt.server import distances, fold


class Fleet(NamedTuple):
    """All workers; every leaf has a leading axis n."""

    position: Position  # where each worker's window opened, and the local state after its last computed window
    end: Params
    steps: jax.Array
    message: Any
    loss: jax.Array
    accuracy: jax.Array
    pulled: Params
    version: jax.Array  # of the center each worker pulled last


class Central(NamedTuple):
    """The server."""

    center: Params
    state: State
    version: jax.Array
    alive: jax.Array  # False once a commit or loss was not finite: the center is frozen from then on


class Served(NamedTuple):
    """What is recorded of a stretch of updates; every leaf has the shape (updates, q)."""

    staleness: jax.Array
    loss: jax.Array
    accuracy: jax.Array
    commit_norm: jax.Array
    distance: jax.Array
    metrics: dict[str, jax.Array]


class Programs:
    """The compiled programs that advance a fleet."""

    def __init__(self, experiment: Experiment, replica: Replica) -> None:
        self.experiment = experiment
        self.replica = replica
        self.fly = jax.jit(self._fly, donate_argnums=0)
        self.serve = jax.jit(self._serve, donate_argnums=(0, 1))
        self.pull = jax.jit(self._pull, donate_argnums=0)
        self.compiled: set[tuple[int, ...]] = set()  # the shapes they were called with

    def begin(self, first: Position, message: Any) -> tuple[Fleet, Central]:
        """Return all workers at `first`, version 0 of the center, and the server."""
        n = self.experiment.workers

        def spread(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: jnp.tile(leaf, (n, *[1] * jnp.ndim(leaf))), tree)

        zeros = jnp.zeros(n)
        empty = jax.tree.map(lambda m: jnp.zeros((n, *m.shape), m.dtype), message)
        version = jnp.zeros(n, jnp.int32)
        fleet = Fleet(
            spread(first), spread(first.params), version, empty, zeros, jnp.zeros(n), spread(first.params), version + 0
        )
        center = jax.tree.map(jnp.array, first.params)
        state = self.experiment.optimizer.server.init(center, n)
        return fleet, Central(center, state, jnp.int32(0), jnp.array(True))

    def _fly(self, fleet: Fleet, batches: Batches, key: jax.Array, data: Any) -> Fleet:
        """Compute one window of each worker in `batches.worker`, shape (w,)."""
        ids = batches.worker
        rows = _rows(fleet.position, ids)
        axes = Batches(worker=0, first_step=0, steps=None, indices=0)
        flights = jax.vmap(self.replica.window, in_axes=(0, 0, 0, 0, axes, None, None))(
            rows.params, rows.local, rows.model, rows.rule, batches, key, data
        )
        put = partial(_put, ids)
        return fleet._replace(
            position=Position(
                fleet.position.params,
                put(fleet.position.local, flights.local),
                put(fleet.position.model, flights.model),
                put(fleet.position.rule, flights.rule),
            ),
            end=put(fleet.end, flights.window.end),
            steps=fleet.steps.at[ids].set(batches.steps),
            message=put(fleet.message, flights.message),
            loss=fleet.loss.at[ids].set(flights.loss),
            accuracy=fleet.accuracy.at[ids].set(flights.accuracy),
        )

    def _serve(self, fleet: Fleet, central: Central, ids: jax.Array, count: jax.Array) -> tuple[Fleet, Central, Served]:
        """Apply the first `count` of the updates whose committers are `ids`, shape (updates, q), and let them adopt."""
        messages, pulled, versions = _rows((fleet.message, fleet.pulled, fleet.version), ids)
        loss, accuracy = fleet.loss[ids], fleet.accuracy[ids]
        positions = self.replica.positions(*_rows((fleet.position.params, fleet.end), ids))

        def step(central: Central, x: Any) -> tuple[Central, Any]:
            i, who, message, pulled, version, loss = x
            optimizer, staleness = self.experiment.optimizer, central.version - version
            seen = None if optimizer.quorum >= self.experiment.workers else pulled
            distance = distances(central.center, seen, len(who))
            folded = fold(optimizer, central.center, central.state, Commits(who, staleness, message, seen))
            healthy = central.alive & jnp.all(jnp.isfinite(folded.norm)) & jnp.all(jnp.isfinite(loss))
            go = healthy & (i < count)
            after = Central(folded.update.center, folded.update.state, central.version + 1, healthy)
            kept = central._replace(alive=jnp.where(i < count, healthy, central.alive))
            central_after = jax.tree.map(partial(jnp.where, go), after, kept)
            reply = folded.update.replies
            if reply is None:
                reply = jax.tree.map(lambda c: jnp.broadcast_to(c, (len(who), *c.shape)), central_after.center)
            metrics = {k: jnp.broadcast_to(v, who.shape) for k, v in folded.update.metrics.items()}
            record = (staleness, folded.norm, distance, metrics)
            return central_after, (reply, central_after.center, central_after.version, record)

        xs = (jnp.arange(len(ids)), ids, messages, pulled, versions, loss)
        central, (replies, centers, now, record) = jax.lax.scan(step, central, xs)
        staleness, norm, distance, metrics = record
        q = ids.shape[1]
        flat = jnp.where(jnp.arange(len(ids))[:, None] < count, ids, self.experiment.workers).reshape(-1)
        replies = jax.tree.map(lambda r: r.reshape(-1, *r.shape[2:]), replies)
        centers, now = jax.tree.map(lambda c: jnp.repeat(c, q, axis=0), (centers, now))
        fleet = self._land(fleet, flat, replies, centers, now)
        return fleet, central, Served(staleness, loss, accuracy, norm, distance, metrics | positions)

    def _land(self, fleet: Fleet, ids: jax.Array, replies: Any, centers: Params, versions: jax.Array) -> Fleet:
        """Let the workers `ids` adopt their replies; an id of n stands for nobody."""
        rows = _rows(fleet.position, ids)
        end, steps = _rows((fleet.end, fleet.steps), ids)
        window = Window(rows.params, end, steps)
        flights = Flight(window, rows.local, rows.model, rows.rule)
        landed = jax.vmap(self.replica.adoption)(replies, flights)
        put = partial(_put, ids)
        position = fleet.position._replace(
            params=put(fleet.position.params, landed.params), rule=put(fleet.position.rule, landed.rule)
        )
        if self.experiment.config["local"]["on_pull"] == "reset":
            position = position._replace(local=put(position.local, landed.local))
        return fleet._replace(
            position=position, pulled=put(fleet.pulled, centers), version=put(fleet.version, versions)
        )

    def _pull(self, fleet: Fleet, central: Central, first: Position, worker: jax.Array) -> Fleet:
        """Let one worker start over from the center."""
        first = first._replace(params=central.center)
        put = partial(_put, worker[None])
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], (first, central.center, central.version))
        return fleet._replace(
            position=put(fleet.position, one[0]), pulled=put(fleet.pulled, one[1]), version=put(fleet.version, one[2])
        )


def _rows(tree: Any, ids: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf.at[ids].get(mode="clip"), tree)


def _put(ids: jax.Array, tree: Any, rows: Any) -> Any:
    return jax.tree.map(lambda leaf, row: leaf.at[ids].set(row, mode="drop"), tree, rows)
