"""Models by name: an initializer and a loss that workers minimize, both pure functions.

`distopt.models.NAME` has a factory of the same name (the analytic functions are in `analytic`). Factories of trainable
models take the shape of one example and the number of classes, then their settings; analytic functions take only their
settings. Models of other packages are trainable, and named `module:factory` or by an entry point in `distopt.models`.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from distopt import plugins
from distopt.errors import ConfigError
from distopt.rules import Params

ModelState = Any
Batch = Any
Key = jax.Array | None


class Model(NamedTuple):
    """A function to minimize.

    `loss(params, model_state, batch, key)` returns `(loss, (model_state, accuracy))`: the batch's mean loss, the new
    model state (such as batch statistics; `{}` for most models) and the fraction of correctly classified examples (NaN
    without classes). With `key=None` the model is evaluated: no dropout, no gradient noise, model state unchanged.

    `minimum` is the point where the function is smallest; None if it is unknown. With a minimum, the parameters are the
    coordinates `{"x": array of shape (d,)}` of a point, and runs record the paths of center and workers.

    `logits(params, model_state, x)` returns the numbers that `loss` with `key=None` puts into a softmax over the
    classes, shape (batch, classes); ensembles are evaluated with them. None: the model has none.
    """

    init: Callable[[jax.Array], tuple[Params, ModelState]]
    loss: Callable[[Params, ModelState, Batch, Key], tuple[jax.Array, tuple[ModelState, jax.Array]]]
    minimum: tuple[float, ...] | None = None
    logits: Callable[[Params, ModelState, Any], jax.Array] | None = None


ANALYTIC = ("beale", "booth", "rosenbrock", "quadratic")
TRAINABLE = ("mlp", "mlp_thesis", "cnn", "logistic")


def build(settings: Mapping[str, Any], shape: tuple[int, ...] | None, classes: int | None) -> Model:
    """Build the model that the configuration group `model` describes.

    Args:
        settings: `name` and the model's own settings.
        shape: of one example; None for `dataset=none`.
        classes: number of classes; None for `dataset=none`.

    Raises:
        ConfigError: unknown name, settings that are unknown to the model or refused, or a data set that does not fit
            it.
    """
    name = settings["name"]
    arguments = {key: value for key, value in settings.items() if key != "name"}
    if name in ANALYTIC:
        if shape is not None:
            raise ConfigError(f"model={name} is an analytic function and takes no data: set dataset=none")
        make = getattr(importlib.import_module("distopt.models.analytic"), name)
    elif make := plugins.find("models", name) or _trainable(name):
        if shape is None:
            raise ConfigError(f"model={name} needs data: choose a dataset other than none")
        arguments |= {"shape": shape, "classes": classes}
    else:
        raise ConfigError(f"model.name={name}: no such model; choose from {', '.join(TRAINABLE + ANALYTIC)}")
    try:
        inspect.signature(make).bind(**arguments)
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model={name}: {error}") from None


def _trainable(name: str) -> Callable[..., Model] | None:
    return getattr(importlib.import_module(f"distopt.models.{name}"), name) if name in TRAINABLE else None
