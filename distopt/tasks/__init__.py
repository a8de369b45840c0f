"""What is trained: a task maps parameters and a batch to outputs, and measures them.

Measures are sums with their weights, never means: sums of steps, chunks and workers add up, also where the last chunk
is short or some positions do not count. A metric, the number that people read, is made of the sums at the end.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.records import Metric
from distopt.rules import Params

ModelState = Any
Batch = Any
Outputs = Any
Key = jax.Array | None
Sums = dict[str, tuple[Any, Any]]
"""By name a sum and its weight: float32 of shape (), or NumPy arrays of one shape."""


def ratios(sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
    """Return each sum over its weight: metrics that are means."""
    del xp
    return {name: total / weight for name, (total, weight) in sums.items()}


class Task(NamedTuple):
    """A function to minimize, and how its results are measured; all parts are pure functions.

    - `init(key)` returns the parameters and the model state (such as batch statistics; `{}` for most models).
    - `forward(params, state, batch, key)` returns outputs and the new model state. With `key=None` the model is
      evaluated: no dropout, no gradient noise, model state unchanged.
    - `measure(outputs, batch)` returns `Sums` with at least `loss`.
    - `metrics` are what is recorded, the first one decides comparisons; `finish(sums, xp)` makes them of the sums, with
      the functions of `xp` (NumPy or JAX's).
    - `sums` are the names that `measure` returns, if they are not those of the metrics.
    - `objective` is the name of the sum whose ratio workers minimize, if it is not the loss.
    - `penalty(params)` is added to what workers minimize, and to nothing that is measured; evaluations record it apart.
    - `combine` has ways to make the outputs of an ensemble from those of its members, which have a leading axis: pairs
      of a prefix of the metrics' names and a function; the first prefix is empty. Without any, an ensemble is measured
      by its best member.
    - `refresh(params, state, batch)` returns the model state with the statistics of one batch at these parameters; they
      are averaged over batches before an evaluation, as no worker's running averages are those of the center.
    - `show(params, state, key)` returns a text that lets people see what was learnt; None: there is no such thing, for
      this model or at all.
    - `at_once` is the number of examples that are evaluated together: it bounds the memory of activations.
    - `minimum` is the point where the function is smallest, None if it is unknown. With a minimum, the parameters are
      the coordinates `{"x": array of shape (d,)}` of a point, and runs record the paths of center and workers.
    """

    init: Callable[[jax.Array], tuple[Params, ModelState]]
    forward: Callable[[Params, ModelState, Batch, Key], tuple[Outputs, ModelState]]
    measure: Callable[[Outputs, Batch], Sums]
    metrics: tuple[Metric, ...]
    finish: Callable[[Mapping[str, tuple[Any, Any]], Any], dict[str, Any]] = ratios
    sums: tuple[str, ...] | None = None
    combine: tuple[tuple[str, Callable[[Outputs], Outputs]], ...] = ()
    refresh: Callable[[Params, ModelState, Batch], ModelState] | None = None
    minimum: tuple[float, ...] | None = None
    at_once: int = 2000
    show: Callable[[Params, ModelState, jax.Array], str | None] | None = None
    objective: str = "loss"
    penalty: Callable[[Params], jax.Array] | None = None

    def loss(
        self, params: Params, state: ModelState, batch: Batch, key: Key
    ) -> tuple[jax.Array, tuple[ModelState, Sums]]:
        """Return what workers minimize, the objective over its weight, with the new model state and the sums."""
        outputs, state = self.forward(params, state, batch, key)
        sums = self.measure(outputs, batch)
        total, weight = sums[self.objective]
        value = total / weight
        return value if self.penalty is None else value + self.penalty(params), (state, sums)

    def measured(self, sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
        """Return the metrics made of sums, by name."""
        found = self.finish(sums, xp)
        return {metric.name: found[metric.name] for metric in self.metrics}

    def no_sums(self) -> Sums:
        """Return the sums over nothing."""
        names = self.sums or tuple(metric.name for metric in self.metrics)
        return {name: (jnp.zeros(()), jnp.zeros(())) for name in names}
