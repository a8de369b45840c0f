"""Models by name: each makes a task (`distopt.tasks`), which says what workers minimize and what is measured.

`distopt.models.NAME` has a factory of the same name (the analytic functions are in `analytic`). Factories of trainable
models take the shape of one example and the number of classes, then their settings; analytic functions take only their
settings. A factory with a parameter `kind` is told the kind of the data, one with `sparse` whether features are sparse.
Models of other packages are trainable, and named `module:factory` or by an entry point in `distopt.models`.
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from distopt import plugins
from distopt.errors import ConfigError, listed
from distopt.records import Kind
from distopt.tasks import Task, tokens

WORDS: dict[Kind, str] = {
    "classes": "samples with a class",
    "numbers": "samples with a number to predict",
    "labels": "samples with labels of 0 and 1",
    "tokens": "a text",
    "ratings": "ratings of items by users",
    "ranking": "items of users to rank",
}
EXAMPLES: dict[Kind, str] = {
    "classes": "dataset=digits",
    "numbers": "dataset.kind=numbers",
    "labels": "dataset.kind=labels",
    "tokens": "dataset=pydoc",
    "ratings": "dataset=ratings",
    "ranking": "dataset=ratings dataset.kind=ranking",
}
ANALYTIC = ("beale", "booth", "rosenbrock", "quadratic")
TRAINABLE: dict[str, tuple[Kind, ...]] = {
    "mlp": ("classes", "numbers", "labels"),
    "mlp_thesis": ("classes",),
    "cnn": ("classes", "numbers", "labels"),
    "resnet": ("classes", "numbers", "labels"),
    "logistic": ("classes", "labels"),
    "linear": ("numbers",),
    "wide_deep": ("classes", "numbers", "labels"),
    "gpt": ("tokens",),
    "factorisation": ("ratings", "ranking"),
}  # and the kinds of data they take


def build(
    settings: Mapping[str, Any],
    shape: tuple[int, ...] | None,
    classes: int | None,
    kind: Kind = "classes",
    sparse: bool = False,
) -> Task:
    """Build the model that the configuration group `model` describes.

    Args:
        settings: `name` and the model's own settings.
        shape: of one example; None for `dataset=none`.
        classes: number of classes, or of different tokens, 1 for numbers; None for `dataset=none`.
        kind: of the data.
        sparse: features are pairs (index, value), which models take whose factories have a parameter of this name.

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
        if sparse and not _takes(make, "sparse"):
            fitting = listed(
                other for other, takes in TRAINABLE.items() if kind in takes and _takes(_trainable(other), "sparse")
            )
            raise ConfigError(f"model={name} takes no sparse features; the data set has them, for model={fitting}")
        arguments |= {"shape": shape, "classes": classes}
        arguments |= {key: value for key, value in (("kind", kind), ("sparse", sparse)) if _takes(make, key)}
    else:
        raise ConfigError(f"model.name={name}: no such model; choose from {', '.join([*TRAINABLE, *ANALYTIC])}")
    try:
        inspect.signature(make).bind(**arguments)
        task = make(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"model={name}: {error}") from None
    return tokens.told(task, classes) if kind == "tokens" and classes and isinstance(task, Task) else task


def _takes(make: Any, name: str) -> bool:
    return name in inspect.signature(make).parameters


def _trainable(name: str) -> Callable[..., Task] | None:
    return getattr(importlib.import_module(f"distopt.models.{name}"), name) if name in TRAINABLE else None
