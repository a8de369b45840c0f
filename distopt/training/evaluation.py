"""Evaluation of the center, or of the optimizer's `Result`, always outside the training clock."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distopt.models import Model, ModelState
from distopt.rules import Params
from distopt.training.experiment import Experiment
from distopt.training.program_cache import shared

Measures = dict[str, Any]  # numbers by name; arrays of shape (n,) for the members of an ensemble
CHUNK = 2000  # examples evaluated at once: bounds the memory of activations


class Evaluator:
    """Computes loss and accuracy of parameters on the validation data and on a fixed subset of the training data.

    The parameters of an ensemble have a leading axis of members. Its loss and accuracy are those of the mean of its
    members' probabilities. Its rows have more columns: `mean_logits_loss` and `mean_logits_accuracy` of the mean of the
    logits, and `best_member_loss` and `best_member_accuracy` of the best single member on this split, each by its own
    measure. Where a model has no logits, the ensemble is its best member.
    """

    def __init__(self, experiment: Experiment, model_state: ModelState) -> None:
        self._model_state = model_state
        model = experiment.model
        result = experiment.optimizer.result
        self._ensemble = result is not None and result.members
        name, measures = ("ensemble", _ensemble) if self._ensemble else ("loss", _single)
        self._measures = shared(experiment, name, lambda: jax.jit(partial(measures, model)), on=model)
        self._norm = shared(experiment, "norm", lambda: jax.jit(optax.tree.norm), on=model)
        self._analytic = model.minimum is not None
        self._splits: dict[str, Any] = {"train": ()}
        if data := experiment.dataset:
            samples = min(experiment.config["evaluate"]["samples"], data.size)
            # Independent of the run's seed, so that every run on this data set is evaluated on the same subset.
            subset = np.sort(np.random.default_rng(0).permutation(data.size)[:samples])
            self._splits = {
                "train": jax.device_put((data.train_x[subset], data.train_y[subset])),
                "validation": jax.device_put((data.validation_x, data.validation_y)),
            }

    def __call__(self, params: Params, *, update: int, time_s: float, samples: int) -> list[dict[str, Any]]:
        """Return one row per split, with the norm of the parameters; of an ensemble, the root mean square over members.

        Analytic functions have one split, `train`, and their coordinates `x0`, `x1`, …
        """
        rows = []
        members = len(jax.tree.leaves(params)[0]) if self._ensemble else 1
        norm = float(self._norm(params)) / members**0.5
        for split, data in self._splits.items():
            measured = self._mean(params, data)
            point = params["x"] if self._analytic else ()
            if self._ensemble:
                point = point[measured["member_loss"].argmin()] if self._analytic else ()
                measured = _with_best(measured)
            rows.append(
                {
                    "update": update,
                    "time_s": time_s,
                    "samples": samples,
                    "split": split,
                    **{name: float(value) for name, value in measured.items()},
                    **{f"x{i}": float(x) for i, x in enumerate(point)},
                    "center_norm": norm,
                }
            )
        return rows

    def _mean(self, params: Params, data: Any) -> Measures:
        """Return the measures averaged over the examples, in double precision."""
        size = len(data[1]) if data else 1
        total: Measures = {}
        for first in range(0, size, CHUNK):
            batch = jax.tree.map(lambda a, first=first: a[first : first + CHUNK], data)
            weight = len(batch[1]) if data else 1
            for name, value in self._measures(params, self._model_state, batch).items():
                total[name] = total.get(name, 0.0) + weight * np.asarray(value, np.float64)
        return {name: value / size for name, value in total.items()}


def _single(model: Model, params: Params, state: ModelState, batch: Any) -> dict[str, jax.Array]:
    loss, (_, accuracy) = model.loss(params, state, batch, None)
    return {"loss": loss, "accuracy": accuracy}


def _ensemble(model: Model, members: Params, state: ModelState, batch: Any) -> dict[str, jax.Array]:
    """Return measures of each member, shape (n,), and of the means of their probabilities and of their logits."""
    each = jax.lax.map(lambda params: _single(model, params, state, batch), members)  # one by one, to save memory
    measures = {f"member_{name}": value for name, value in each.items()}
    if model.logits is None:
        return measures
    x, y = batch
    logits = jax.lax.map(lambda params: model.logits(params, state, x), members)
    log_mean = jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(len(logits))
    for prefix, z in (("", log_mean), ("mean_logits_", jnp.mean(logits, axis=0))):
        measures[f"{prefix}loss"] = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(z, y))
        measures[f"{prefix}accuracy"] = jnp.mean(jnp.argmax(z, axis=-1) == y)
    return measures


def _with_best(measured: Measures) -> Measures:
    """Replace the members' measures by the best of each; without logits these are also the ensemble's."""
    best = {"loss": measured.pop("member_loss").min(), "accuracy": measured.pop("member_accuracy").max()}
    return best | measured | {f"best_member_{name}": value for name, value in best.items()}


def reached(stop: Any, rows: list[dict[str, Any]]) -> str | None:
    """Return the stop criterion that an evaluation meets, with the values, or None.

    Args:
        stop: the configuration group `stop`.
        rows: of one evaluation; `validation` decides, or the only split there is.
    """
    row = rows[-1]
    if stop["accuracy"] is not None and row["accuracy"] >= stop["accuracy"]:
        return f"stop.accuracy={stop['accuracy']} reached: {row['split']} accuracy {row['accuracy']:.4f}"
    if stop["loss"] is not None and row["loss"] <= stop["loss"]:
        return f"stop.loss={stop['loss']} reached: {row['split']} loss {row['loss']:.4g}"
    return None
