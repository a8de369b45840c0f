"""A worker's pure half: local steps, commit and adopt.

Everything random is a function of (seed, worker, step): batches come from the sampler, keys are folded from the three.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distopt.datasets.dataset import length
from distopt.optimizers.parts import probes
from distopt.rules import Message, Params, Reply, State, Window
from distopt.schedules import Clock
from distopt.tasks import ModelState, Sums
from distopt.training.batches import Batches, portion_indices
from distopt.training.experiment import Experiment
from distopt.training.trial import landing
from distopt.windows import Judged


class Position(NamedTuple):
    """What a worker holds between two windows."""

    params: Params  # θᵏ
    local: optax.OptState
    model: ModelState
    rule: State


class Kept(NamedTuple):
    """A worker's state besides its parameters when it sends a commit; it outlives the worker's process."""

    local: optax.OptState
    model: ModelState
    rule: State


class Flight(NamedTuple):
    """A finished window whose commit is not made or not answered yet."""

    window: Window
    local: optax.OptState
    model: ModelState
    rule: State
    message: Message = None  # None while the commit waits for the center, and once it was sent
    measured: Any = None  # the task's metrics by name, over the window's steps, each at the parameters of its step
    ended: Any = None  # whether the worker rule ended the window, 0 or 1; None if it cannot

    @property
    def kept(self) -> Kept:
        """Return the worker's state besides its parameters."""
        return Kept(self.local, self.model, self.rule)


class Progress(NamedTuple):
    """A window under way."""

    steps: jax.Array  # taken so far; int32, shape ()
    params: Params  # θᵏ now
    local: optax.OptState
    model: ModelState
    gradient: Params | None  # Σ g so far, if the worker rule asks for it
    loss: jax.Array  # sum over the steps; shape ()
    sums: Sums  # of the task, over the steps
    ended: jax.Array | None  # whether the worker rule ends the window; None if it cannot; shape ()


class Worker:
    """What a worker does, as pure functions: they hold nothing of a run's data, seed or size."""

    def __init__(self, experiment: Experiment) -> None:
        self._model, self._local, self._rules = experiment.model, experiment.local, experiment.optimizer
        self._schedule, self._workers = experiment.schedule, experiment.workers
        self._rate = experiment.config["local"]["learning_rate"]
        self.reset = experiment.config["local"]["on_pull"] == "reset"

    def window(
        self,
        params: Params,
        local: optax.OptState,
        model: ModelState,
        rule: State,
        batches: Batches,
        step_key: jax.Array,
        data: Any,
    ) -> Flight:
        """Take the local steps of one window, and make its commit unless the rule pulls before it; pure."""
        progress = self.depart(params, local, model)
        progress = self.steps(progress, params, rule, batches, step_key, data)
        return self.arrive(progress, params, rule, batches, step_key)

    def depart(self, params: Params, local: optax.OptState, model: ModelState) -> Progress:
        """Open a window; pure."""
        steps = self._rules.worker.steps
        return Progress(
            steps=jnp.zeros((), jnp.int32),
            params=params,
            local=local,
            model=model,
            gradient=jax.tree.map(jnp.zeros_like, params) if steps.takes != "local" else None,
            loss=jnp.zeros(()),
            sums=self._model.no_sums(),
            ended=jnp.zeros((), bool) if isinstance(steps.until, Judged) else None,
        )

    def steps(
        self, progress: Progress, start: Params, rule: State, batches: Batches, step_key: jax.Array, data: Any
    ) -> Progress:
        """Take local steps until `batches.steps` are taken, or the worker rule ends the window; pure."""
        takes, until, correct, passes = self._rules.worker.steps
        method = optax.with_extra_args_support(self._local)
        key = jax.random.fold_in(step_key, batches.worker)
        indices = batches.indices
        if passes and data:
            indices = portion_indices(passes.portion(rule, batches.worker), length(data), indices.shape)
        differentiate = jax.value_and_grad(self._model.loss, has_aux=True)
        clock = self._clock(batches, rule)

        def more(progress: Progress) -> jax.Array:
            left = progress.steps < batches.steps
            return left if progress.ended is None else left & ~progress.ended

        def step(progress: Progress) -> Progress:
            i, theta, local, model, total, loss, sums, ended = progress
            rows, place = (data, indices[i]) if batches.samples is None else (batches.samples, i)
            batch = jax.tree.map(lambda a: a[place], rows)
            (value, (model, more_sums)), g = differentiate(
                theta, model, batch, jax.random.fold_in(key, batches.first_step + i)
            )
            if takes != "local":
                total = jax.tree.map(jnp.add, total, g)
            if takes != "gradients":
                followed = correct(g, theta, start) if correct else g
                scheduled = {} if clock is None else {"factor": self._factor(clock, i)}
                updates, local = method.update(followed, local, theta, **scheduled)
                theta = optax.apply_updates(theta, updates)
            if isinstance(until, Judged):
                ended = until.ends(Window(start, theta, i + 1, total), g, rule)
            sums = jax.tree.map(jnp.add, sums, more_sums)
            return Progress(i + 1, theta, local, model, total, loss + value, sums, ended)

        return jax.lax.while_loop(more, step, progress)

    def arrive(self, progress: Progress, start: Params, rule: State, batches: Batches, step_key: jax.Array) -> Flight:
        """End a window and make its commit; pure."""
        steps, end, local, model, total, loss, sums, ended = progress
        key = jax.random.fold_in(step_key, batches.worker)
        draw = jax.random.fold_in(key, ~batches.first_step)  # negative, so no step has that number
        window = Window(start, end, steps, total, key=draw, loss=loss)
        clock = self._clock(batches, rule)
        message = None
        if not self._rules.worker.pull:
            message, rule = self.commit(window, local, rule)
            window = landing(window)
        measured = self._model.measured(sums, jnp)
        if clock is not None:
            measured |= {"clock": clock.now, "rate": self._rate * self._factor(clock, 0)}
        return Flight(window, local, model, rule, message, measured, ended)

    @property
    def measures(self) -> tuple[str, ...]:
        """Return the names of what is measured of a window."""
        names = tuple(metric.name for metric in self._model.metrics)
        return names if self._schedule is None else (*names, "clock", "rate")

    def _clock(self, batches: Batches, rule: State) -> Clock | None:
        """Return the clock at a window's first step; with the clock `samples`, as far as all workers were at the pull.

        The steps of all commits at the center, Σλ, are Σλ/n steps of every worker.
        """
        clock = batches.clock
        if clock is None or self._schedule is None or self._schedule.clock != "samples":
            return clock
        return clock._replace(now=rule.total * clock.pace / self._workers)

    def _factor(self, clock: Clock, i: Any) -> jax.Array:
        """Return the schedule's factor at step i of a window."""
        assert self._schedule is not None
        return self._schedule.factor(clock._replace(now=clock.now + i * clock.pace))

    def commit(self, window: Window, local: optax.OptState, rule: State) -> tuple[Message, State]:
        """Make the commit of a window; pure."""
        return self._rules.worker.commit(window._replace(local=local if self._rules.local else None), rule)

    @property
    def tells(self) -> bool:
        """Return whether the start and end of windows are recorded."""
        return self._model.minimum is not None or self._rules.worker.conserves

    def positions(self, start: Params, end: Params) -> dict[str, jax.Array]:
        """Return where a window opened and ended, as columns of shape ().

        For an analytic function, the coordinates `start_x0`, …, `end_x0`, …; where a sum is conserved, probes.
        """
        told = probes.of_window(start, end) if self._rules.worker.conserves else {}
        if self._model.minimum is None:
            return told
        points = {"start": start["x"], "end": end["x"]}
        return told | {f"{name}_x{i}": x[i] for name, x in points.items() for i in range(x.shape[0])}

    def adoption(self, reply: Reply, flight: Flight) -> Position:
        """Adopt the server's reply to a flight's commit; pure."""
        params, rule = self._rules.worker.adopt(reply, flight.window, flight.rule)
        local = self._local.init(params) if self.reset else flight.local
        return Position(params, local, flight.model, rule)
