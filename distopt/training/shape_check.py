"""Checks before training, by tracing alone: rules and models of other packages keep to shapes and dtypes."""

from typing import Any

import jax
import jax.numpy as jnp

from distopt import models
from distopt.errors import ConfigError
from distopt.files.untrusted import reason
from distopt.optimizers import factory
from distopt.rules import Params
from distopt.tasks import ModelState, Outputs, Sums, classes, numbers, tokens
from distopt.training.experiment import Experiment
from distopt.training.teacher import batch_shapes
from distopt.training.trial import Exchange, exchange

STANDARD = (classes.measure, numbers.measure, tokens.measure)  # of outputs whose last axis has all classes or tokens


def check(experiment: Experiment) -> None:
    """Trace one step and one exchange, unless model and optimizer are packaged: those are known to conform.

    Raises:
        ConfigError: a rule changes the shape or dtype of the center, the parameters or a state, a model that of its
            state, its outputs do not fit the data, or something cannot be traced.
    """
    _model(experiment)
    _rules(experiment)


def _model(experiment: Experiment) -> None:
    name, task, data = experiment.config["model"]["name"], experiment.model, experiment.dataset
    if data is None or name in models.TRAINABLE:
        return
    size, context = experiment.batch_size, data.shape if data.kind == "tokens" else ()
    rows = batch_shapes(data, size)

    def trial(batch: Any, key: jax.Array) -> tuple[Params, ModelState, ModelState, Outputs, Sums]:
        params, state = task.init(key)
        outputs, after = task.forward(params, state, batch, key)
        return params, state, after, outputs, task.loss(params, state, batch, None)[1][1]

    try:
        params, state, after, outputs, sums = jax.eval_shape(trial, rows, jax.random.key(0))
    except Exception as error:  # models from other packages may raise anything
        raise ConfigError(f"model={name}: it cannot be traced ({reason(error)})") from error
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            where = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ConfigError(f"model={name}: its parameter {where} is {leaf.dtype}, which no step can change")
    if problem := difference(state, after):
        raise ConfigError(f"model={name}: it changes the model state: {problem}")
    expected = (size, *context, data.classes)
    if task.measure in STANDARD and getattr(outputs, "shape", None) != expected:
        raise ConfigError(f"model={name}: its outputs for a batch are {_told(outputs)}, the data need {expected}")
    if problem := difference(task.no_sums(), sums):
        raise ConfigError(f"model={name}: what it measures is not as its metrics say: {problem}")


def _told(outputs: Outputs) -> str:
    return str(outputs.shape) if hasattr(outputs, "shape") else str(jax.tree.structure(outputs))


def _rules(experiment: Experiment) -> None:
    name = experiment.config["optimizer"]["name"]
    if factory(name).__module__.startswith("distopt."):
        return

    def trial() -> Exchange:
        params, _ = experiment.model.init(jax.random.key(0))
        return exchange(experiment.optimizer, params, experiment.workers)

    try:
        traced = jax.eval_shape(trial)
    except ConfigError:
        raise
    except Exception as error:  # rules from other packages may raise anything
        raise ConfigError(f"optimizer={name}: its rules cannot be traced ({reason(error)})") from error
    for what, kept in traced.before.items():
        if problem := difference(kept, traced.after[what]):
            raise ConfigError(f"optimizer={name}: its rules change {what}: {problem}")


def difference(expected: Any, found: Any) -> str | None:
    """Return how the leaves of a pytree differ in place, shape or dtype from what was expected; None if they do not."""
    have, want = str(jax.tree.structure(found)), str(jax.tree.structure(expected))
    if have != want:
        return f"{have} instead of {want}"
    for (path, leaf), other in zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        if (leaf.shape, leaf.dtype) != (other.shape, other.dtype):
            where = jax.tree_util.keystr(path, simple=True, separator="/")
            return f"{where or 'it'} is {other.dtype}{other.shape} instead of {leaf.dtype}{leaf.shape}"
    return None
