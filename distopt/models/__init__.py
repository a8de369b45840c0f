"""Models by name: each makes a task (`distopt.tasks`), which says what workers minimize and what is measured.

`distopt.models.NAME` has a factory of the same name (the analytic functions are in `analytic`). Factories of trainable
models take the shape of one example and the number of classes, then their settings; analytic functions take only their
settings. Models of other packages are trainable, and named `module:factory` or by an entry point in `distopt.models`.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from distopt import plugins
from distopt.errors import ConfigError, listed
from distopt.records import Kind
from distopt.tasks import Task, tokens

WORDS = {"classes": "samples with a class", "numbers": "samples with a number to predict", "tokens": "a text"}
EXAMPLES = {"classes": "dataset=digits", "numbers": "dataset.kind=numbers", "tokens": "dataset=pydoc"}
ANALYTIC = ("beale", "booth", "rosenbrock", "quadratic")
TRAINABLE: dict[str, tuple[Kind, ...]] = {
    "mlp": ("classes", "numbers"),
    "mlp_thesis": ("classes",),
    "cnn": ("classes", "numbers"),
    "logistic": ("classes",),
    "linear": ("numbers",),
    "gpt": ("tokens",),
}  # and the kinds of data they take


def build(
    settings: Mapping[str, Any], shape: tuple[int, ...] | None, classes: int | None, kind: Kind = "classes"
) -> Task:
    """Build the model that the configuration group `model` describes.

    Args:
        settings: `name` and the model's own settings.
        shape: of one example; None for `dataset=none`.
        classes: number of classes, or of different tokens, 1 for numbers; None for `dataset=none`.
        kind: of the data.

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
        if kind not in TRAINABLE.get(name, (kind,)):
            fitting = listed(other for other, takes in TRAINABLE.items() if kind in takes)
            taken = " or ".join(f"{WORDS[each]} ({EXAMPLES[each]})" for each in TRAINABLE[name])
            raise ConfigError(f"model={name} takes {taken}; the data set has {WORDS[kind]}, for model={fitting}")
        arguments |= {"shape": shape, "classes": classes}
        if "kind" in inspect.signature(make).parameters:
            arguments["kind"] = kind
    else:
        raise ConfigError(f"model.name={name}: no such model; choose from {', '.join([*TRAINABLE, *ANALYTIC])}")
    try:
        inspect.signature(make).bind(**arguments)
        task = make(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model={name}: {error}") from None
    return tokens.told(task, classes) if kind == "tokens" and classes and isinstance(task, Task) else task


def _trainable(name: str) -> Callable[..., Task] | None:
    return getattr(importlib.import_module(f"distopt.models.{name}"), name) if name in TRAINABLE else None
