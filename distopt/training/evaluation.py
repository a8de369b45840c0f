"""Evaluation of the center, or of the optimizer's `Result`, always outside the training clock."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distopt.datasets.dataset import length, whole
from distopt.rules import Params
from distopt.tasks import ModelState, Sums, Task
from distopt.training import statistics
from distopt.training.experiment import Experiment, Goal
from distopt.training.program_cache import shared

MEMBER = "member_"  # prefix of what is measured of each member of an ensemble
Split = tuple[Any, ...]


class Evaluator:
    """Measures parameters on the validation data and on a fixed subset of the training data.

    The parameters of an ensemble have a leading axis of members. Its metrics are those of the outputs that the task's
    first way to `combine` makes of its members', and other ways have columns with their prefix. `best_member_METRIC` is
    that of the best single member on this split, each by its own metric. Where a task combines nothing, the ensemble is
    its best member. Statistics such as those of batch normalisation are computed anew at the parameters, over a fixed
    part of the training data: they are a function of the parameters, as everything else.
    """

    def __init__(self, experiment: Experiment, model_state: ModelState) -> None:
        self._model_state = model_state
        self._task = task = experiment.model
        result = experiment.optimizer.result
        self._ensemble = result is not None and result.members
        refreshes = bool(model_state) and task.refresh is not None
        what = "member statistics" if self._ensemble else "statistics"
        fresh = statistics.of_each if self._ensemble else statistics.of_one
        self._refresh = shared(experiment, what, lambda: jax.jit(partial(fresh, task)), on=task) if refreshes else None
        name, measures = ("ensemble", _ensemble) if self._ensemble else ("sums", _single)
        self._sums = shared(experiment, name, lambda: jax.jit(partial(measures, task)), on=task)
        self._norm = shared(experiment, "norm", lambda: jax.jit(optax.tree.norm), on=task)
        self._penalty = self._penalize(experiment, task) if task.penalty else None
        self._analytic = task.minimum is not None
        self._splits: dict[str, Split] = {"train": ()}
        if data := experiment.dataset:
            samples = min(experiment.config["evaluate"]["samples"], data.size)
            # Independent of the run's seed, so that every run on this data set is evaluated on the same subset.
            subset = np.sort(np.random.default_rng(0).permutation(data.size)[:samples])
            self._splits = {
                "train": jax.device_put(jax.tree.map(lambda array: array[subset], data.train)),
                "validation": jax.device_put(whole(data.validation)) if experiment.resident else data.validation,
            }
            self._batches = jax.device_put(statistics.batches(data, experiment.batch_size)) if refreshes else ()

    def __call__(self, params: Params, *, update: int, time_s: float, samples: int) -> list[dict[str, Any]]:
        """Return one row per split, with the norm of the parameters; of an ensemble, the root mean square over members.

        Analytic functions have one split, `train`, and their coordinates `x0`, `x1`, …
        """
        rows = []
        members = len(jax.tree.leaves(params)[0]) if self._ensemble else 1
        norm = float(self._norm(params)) / members**0.5
        state = self._state(params, members)
        penalties = {"penalty": float(self._penalty(params))} if self._penalty else {}
        for split, data in self._splits.items():
            measured = self._measured(params, state, data)
            point = params["x"] if self._analytic else ()
            if self._ensemble:
                point = point[measured[f"{MEMBER}loss"].argmin()] if self._analytic else ()
                measured = self._with_best(measured)
            rows.append(
                {
                    "update": update,
                    "time_s": time_s,
                    "samples": samples,
                    "split": split,
                    **{name: float(value) for name, value in measured.items()},
                    **{f"x{i}": float(x) for i, x in enumerate(point)},
                    "center_norm": norm,
                    **penalties,
                }
            )
        return rows

    def _penalize(self, experiment: Experiment, task: Task) -> Callable[[Params], jax.Array]:
        """Return the program for the penalty; of an ensemble, the mean over its members."""
        of_one: Any = task.penalty
        name = "member penalty" if self._ensemble else "penalty"
        penalty = (lambda members: jnp.mean(jax.vmap(of_one)(members))) if self._ensemble else of_one
        program: Callable[[Params], jax.Array] = shared(experiment, name, lambda: jax.jit(penalty), on=task)
        return program

    def _state(self, params: Params, members: int) -> ModelState:
        """Return the model state at the parameters; of an ensemble, with a leading axis of members."""
        if self._refresh is not None:
            return self._refresh(params, self._model_state, self._batches)
        if not self._ensemble:
            return self._model_state
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (members, *jnp.shape(leaf))), self._model_state)

    def _measured(self, params: Params, state: ModelState, data: Split) -> dict[str, Any]:
        """Return the metrics over all examples; of each member of an ensemble as arrays, with a prefix."""
        total: dict[str, Any] = {}
        step = self._task.at_once
        for first in range(0, length(data) if data else 1, step):
            batch = jax.tree.map(lambda array, first=first: array[first : first + step], data)
            found = jax.device_get(self._sums(params, state, batch))
            double = jax.tree.map(lambda value: np.asarray(value, np.float64), found)
            total = jax.tree.map(np.add, total, double) if total else double
        metrics: dict[str, Any] = {}
        for prefix, sums in total.items():
            metrics |= {f"{prefix}{name}": value for name, value in self._task.measured(sums, np).items()}
        return metrics

    def _with_best(self, measured: dict[str, Any]) -> dict[str, Any]:
        """Replace the members' metrics by the best of each; these are also the ensemble's if it has none of its own."""
        best = {}
        for name, better, *_ in self._task.metrics:
            members = measured.pop(f"{MEMBER}{name}")
            best[name] = members.min() if better == "lower" else members.max()
        return best | measured | {f"best_member_{name}": value for name, value in best.items()}


def _single(task: Task, params: Params, state: ModelState, batch: Split) -> dict[str, Sums]:
    """Return the sums over a batch, under an empty prefix."""
    outputs, _ = task.forward(params, state, batch, None)
    return {"": task.measure(outputs, batch)}


def _ensemble(task: Task, members: Params, states: ModelState, batch: Split) -> dict[str, Sums]:
    """Return the sums of each member, with arrays of shape (members,), and of what is combined of their outputs."""
    outputs = jax.lax.map(lambda one: task.forward(one[0], one[1], batch, None)[0], (members, states))  # to save memory
    found = {MEMBER: jax.lax.map(lambda one: task.measure(one, batch), outputs)}
    return found | {prefix: task.measure(combine(outputs), batch) for prefix, combine in task.combine}


def reached(goals: Sequence[Goal], rows: list[dict[str, Any]]) -> str | None:
    """Return the goal that an evaluation reaches, with the values, or None.

    Args:
        goals: of the experiment.
        rows: of one evaluation; `validation` decides, or the only split there is.
    """
    row = rows[-1]
    for metric, target, key in goals:
        value = row[metric.name]
        if value <= target if metric.better == "lower" else value >= target:
            return f"{key}={target} reached: {row['split']} {metric.name} {value:{metric.format}}"
    return None
