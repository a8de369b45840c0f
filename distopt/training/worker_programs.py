"""The functions of a worker, jitted once for all workers of a process."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distopt.datasets.dataset import whole
from distopt.rules import Params, Reply, Window
from distopt.training.batches import Batches, Itinerary
from distopt.training.experiment import Experiment
from distopt.training.program_cache import quick, shared
from distopt.training.shapes import shapes
from distopt.training.trial import landing, trial_window
from distopt.training.worker import Flight, Kept, Position, Progress, Worker
from distopt.windows import WhenFree


class Replica:
    """The compiled functions of an experiment's workers, and their initial values."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.worker = worker = Worker(experiment)
        init_key, self.step_key = jax.random.split(jax.random.key(experiment.seed))
        model = experiment.model
        init = shared(experiment, "init", lambda: jax.jit(model.init, compiler_options=quick()), on=model)
        self.params, self.model_state = init(init_key)
        # The local state is donated, because it is never needed again. The parameters are not: `adopt` may read them.
        self.advance = shared(experiment, "window", lambda: jax.jit(worker.window, donate_argnums=1))
        # Windows that may be cut off after any step have their own programs in every launcher: steps then give the same
        # bits, taken one by one or all at once.
        self._depart = shared(experiment, "departure", lambda: jax.jit(worker.depart, donate_argnums=1))
        self._steps = shared(experiment, "steps", lambda: jax.jit(worker.steps, donate_argnums=0))
        # Not of use for anything that comes out, so the sums are not donated.
        self._arrive = shared(
            experiment,
            "arrival",
            lambda: jax.jit(lambda p, sums, *rest: worker.arrive(p._replace(sums=sums), *rest), donate_argnums=0),
        )
        self.adopt = shared(experiment, "adoption", self._compile_adoption)
        self._commit = shared(experiment, "commit", lambda: jax.jit(worker.commit))
        self._positions = shared(experiment, "positions", lambda: jax.jit(worker.positions))

    @cached_property
    def data(self) -> Any:
        """The training samples on the device; () without data, or if the device does not keep them."""
        data = self.experiment.dataset
        if not self.experiment.resident:
            return ()
        if data and self.experiment.portions:  # shuffled, so that each portion is a fair sample; the same for all seeds
            order = np.random.default_rng(0).permutation(data.size)
            return jax.device_put(jax.tree.map(lambda array: array[order], data.train))
        return jax.device_put(whole(data.train) if data else ())

    def begin(self, center: Params | None = None, kept: Kept | None = None) -> Position:
        """Return the position a worker starts from.

        Args:
            center: that it has pulled; None: version 0.
            kept: its state at its last commit; None: it starts with fresh state.
        """
        params = self.params if center is None else center
        rule, local = self.experiment.optimizer.worker, self.experiment.local.init(params)
        if kept is None:
            kept = Kept(local, self.model_state, rule.init(params))
        elif rule.rejoin:
            kept = kept._replace(rule=rule.rejoin(params, kept.rule))
        if not self.worker.reset:
            local = kept.local
        return Position(params, jax.tree.map(jnp.array, local), kept.model, kept.rule)  # own buffers: they get donated

    def warm_up(self) -> None:
        """Compile and run every program once, so that no window has to compile."""
        warm = Itinerary(self.experiment, 0).next()._replace(steps=np.int32(1))
        flight = self.fly(self.begin(), warm)
        if self.experiment.optimizer.worker.pull:
            flight = self.commit(flight, self.params)
        self.columns(flight)
        reply = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes(self.experiment).reply)
        jax.block_until_ready(self.land(reply, flight))

    def fly(self, position: Position, batches: Batches) -> Flight:
        """Take the local steps of one window and make its commit, if the worker rule does not pull before it."""
        if isinstance(self.experiment.optimizer.worker.steps.until, WhenFree):
            return self.arrive(position, self.step(position, self.depart(position), batches), batches)
        return self.advance(
            position.params, position.local, position.model, position.rule, batches, self.step_key, self.data
        )

    def depart(self, position: Position) -> Progress:
        """Open a window that may be cut off after any step."""
        return self._depart(position.params, position.local, position.model)

    def step(self, position: Position, progress: Progress, batches: Batches) -> Progress:
        """Take local steps until `batches.steps` of the window are taken."""
        return self._steps(progress, position.params, position.rule, batches, self.step_key, self.data)

    def arrive(self, position: Position, progress: Progress, batches: Batches) -> Flight:
        """End a window where it is, and make its commit as `fly` does."""
        rest = (position.params, position.rule, batches, self.step_key)
        return self._arrive(progress._replace(sums={}), progress.sums, *rest)

    def commit(self, flight: Flight, center: Params) -> Flight:
        """Make the commit of a flight whose worker has pulled the center."""
        window = flight.window._replace(center=center)
        message, rule = self._commit(window, flight.local, flight.rule)
        return flight._replace(window=landing(window), rule=rule, message=message)

    def stay(self, flight: Flight) -> Position:
        """Continue from the end of a flight's window, whose commit gets no reply."""
        return Position(flight.window.end, flight.local, flight.model, flight.rule)

    def start_over(self, center: Params, flight: Flight) -> Position:
        """Start over from the center after a refused commit; `on_bad_commit` decides whether local state is kept."""
        if self.experiment.config["on_bad_commit"] == "restart":
            return self.begin(center)
        return self.begin(center, flight.kept)

    def land(self, reply: Reply, flight: Flight) -> Position:
        """Adopt the server's reply to a flight's commit; the flight's state is donated."""
        return self.adopt(reply, flight.window, (flight.local, flight.model, flight.rule))

    def _compile_adoption(self) -> Callable[[Reply, Window, tuple], Position]:
        """Return the program for `adoption`; where replies are adopted as they are, a function that copies nothing."""
        rule, layout = self.experiment.optimizer.worker, shapes(self.experiment)
        same: list[bool] = []

        def probe(reply: Reply, p: Params) -> None:
            state = rule.init(p)
            window = landing(trial_window(self.experiment.optimizer, p))
            adopted = jax.tree.leaves(rule.adopt(reply, window, state))
            given = jax.tree.leaves((reply, state))
            same.append(len(adopted) == len(given) and all(a is b for a, b in zip(adopted, given, strict=True)))

        jax.eval_shape(probe, layout.reply, layout.params)
        worker = self.worker
        if all(same) and not worker.reset:
            return lambda reply, window, kept: Position(reply, *kept)
        # The worker's state is donated: it passes through, and would be copied otherwise.
        return jax.jit(lambda reply, window, kept: worker.adoption(reply, Flight(window, *kept)), donate_argnums=2)

    def columns(self, flight: Flight) -> dict[str, jax.Array]:
        """Return more columns of a flight's window: where it opened and ended, and whether the rule ended it."""
        columns = self._positions(*flight.window[:2]) if self.worker.tells else {}
        return columns if flight.ended is None else columns | {"early": flight.ended}
