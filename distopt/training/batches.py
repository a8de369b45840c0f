"""Which steps a worker takes and on which samples: a function of (seed, worker, step) alone."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distopt.datasets.sampler import Sampler
from distopt.training.experiment import Experiment
from distopt.training.gathering import Gatherer


class Batches(NamedTuple):
    """The samples of a window, and the local step at which it starts."""

    worker: Any  # int32, shape ()
    first_step: Any  # int32, shape ()
    steps: Any  # int32, shape (), at most λ; the tail of a budget is a shorter window
    indices: Any  # int32, shape (λ, batch size); rows beyond `steps` are not read
    samples: Any = None  # the samples of these rows, where the device does not keep all of them; leaves (λ, batch, …)
    clock: Any = None  # of the schedule of the local method, see `schedules.Clock`; None without one


class Itinerary:
    """The windows of one worker, one after the other, until its budget of local steps is used up."""

    def __init__(self, experiment: Experiment, worker: int, first_step: int = 0, windows: int = 0) -> None:
        self.worker = worker
        self.budget = int(experiment.budget[worker])
        self.step = first_step  # local steps taken so far
        self._windows = windows  # windows begun so far
        self.last = 0  # steps of the last window
        self._experiment = experiment
        shard = experiment.shards[worker]
        data, batch = experiment.dataset, experiment.batch_size
        self._sampler = Sampler(shard, batch, experiment.seed, worker) if data else None
        self._gatherer = Gatherer(data.train, experiment.window * batch) if data and not experiment.resident else None

    @property
    def remaining(self) -> int:
        """Return the local steps left."""
        return self.budget - self.step

    def save(self) -> list[int]:
        """Return the place in the budget for `load`."""
        return [self.step, self._windows, self.last]

    def load(self, saved: Sequence[int]) -> None:
        """Restore what `save` returned."""
        self.step, self._windows, self.last = saved

    @property
    def ahead(self) -> int:
        """Return the number of steps of the next window."""
        return self._experiment.steps(self.worker, self._windows + 1, self.remaining)

    def next(self, steps: int = 0) -> Batches:
        """Return the next window's batches and advance; `steps`, if not 0, overrides its length."""
        steps, first = steps or self.ahead, self.step
        clock, samples = self._experiment.clock(self.worker, first), None
        if self._gatherer:
            indices, samples = self._gatherer.take((first, steps), lambda: self._indices(first, steps))
        else:
            indices = self._indices(first, steps)
        self.step += steps
        self._windows += 1
        self.last = steps
        if self._gatherer and self.remaining > 0:
            following = self.step, self.ahead
            self._gatherer.foresee(following, lambda: self._indices(*following))
        return Batches(np.int32(self.worker), np.int32(first), np.int32(steps), indices, samples, clock)

    def _indices(self, first: int, steps: int) -> np.ndarray:
        """Return the rows of the samples of a window, int32 of shape (λ, batch size)."""
        indices = np.zeros((self._experiment.window, self._experiment.batch_size), np.int32)
        if self._sampler:
            indices[:steps] = self._sampler.batches(first, steps)
        return indices

    def stop(self, steps: int) -> None:
        """Note that the last window ended after fewer steps than planned."""
        self.step += steps - self.last
        self.last = steps

    def back(self) -> None:
        """Go back to the start of the last window, whose work was lost."""
        self.step -= self.last
        self._windows -= self.last > 0
        self.last = 0


def portion_indices(portion: jax.Array, samples: int, shape: tuple[int, ...]) -> jax.Array:
    """Return the sample indices of a portion of the data, `shape` = (λ, batch size); the last portion wraps around."""
    size = math.prod(shape)
    return ((portion * size + jnp.arange(size)) % samples).reshape(shape)
