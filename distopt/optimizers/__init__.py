"""The distributed optimizers by name, one module each; plugins add more by the entry point `distopt.optimizers`."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

import jax
import optax

from distopt import compression
from distopt.errors import ConfigError
from distopt.optimizers.parts import diagnostics
from distopt.rules import DistributedOptimizer

LAUNCHER_SETTINGS = {"name", "window"}  # of the group `optimizer`, but read by launchers, not by factories


GIVEN = {"local", "workers"}  # arguments of a factory that do not come from its settings


def factory(name: str) -> Callable[..., DistributedOptimizer]:
    """Return the factory of an optimizer: `distopt.optimizers.NAME.NAME`, or the entry point of that name.

    Raises:
        ConfigError: no such optimizer.
    """
    for point in entry_points(group="distopt.optimizers", name=name):
        return point.load()
    try:
        return getattr(importlib.import_module(f"distopt.optimizers.{name}"), name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not f"distopt.optimizers.{name}".startswith(error.name or ""):
            raise  # the module exists, but one of its imports does not
        raise ConfigError(f"optimizer.name={name}: no such optimizer; see `distopt list optimizers`") from None


def build(settings: Mapping[str, Any], local: optax.GradientTransformation, workers: int = 1) -> DistributedOptimizer:
    """Build the optimizer that the configuration group `optimizer` describes.

    Args:
        settings: `name`, `window`, and the factory's own settings.
        local: the local optimizer, for factories that take a `local` argument.
        workers: n, for factories that take a `workers` argument.

    Raises:
        ConfigError: unknown name, or settings that are unknown to the factory, missing or refused.
    """
    make = factory(settings["name"])
    arguments = {key: value for key, value in settings.items() if key not in LAUNCHER_SETTINGS}
    given = {"local": local, "workers": workers}
    arguments |= {name: given[name] for name in GIVEN & set(inspect.signature(make).parameters)}
    try:
        inspect.signature(make).bind(**arguments)
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"optimizer={settings['name']}: {error}") from None


def from_config(config: Mapping[str, Any], local: optax.GradientTransformation) -> DistributedOptimizer:
    """Build the optimizer of a configuration, its commits compressed as the group `compression` says.

    Args:
        config: the groups `optimizer` and `compression`, `workers`, `diagnostics`, and `local` if `local.on_pull` is to
            be checked.
        local: as in `build`.

    Raises:
        ConfigError: as `build`; a compression that does not exist, has invalid settings or does not suit the optimizer;
            diagnostics that do not suit it; `local.on_pull=reset` where the optimizer's own local method has a state.
    """
    optimizer = build(config["optimizer"], local, config.get("workers", 1))
    try:
        optimizer = diagnostics.observed(optimizer, config.get("diagnostics"))
    except ValueError as error:
        raise ConfigError(f"diagnostics of optimizer={config['optimizer']['name']}: {error}") from None
    if _remembers(optimizer.local) and (config.get("local") or {}).get("on_pull") == "reset":
        raise ConfigError(
            f"local.on_pull=reset optimizer={config['optimizer']['name']}: the state of its local method is part of "
            "where a worker is, which would jump; set local.on_pull=keep"
        )
    try:
        return compression.apply(optimizer, config["compression"])
    except ValueError as error:
        chosen = f"compression={config['compression']['name']} optimizer={config['optimizer']['name']}"
        raise ConfigError(f"{chosen}: {error}") from None


def _remembers(local: optax.GradientTransformation | None) -> bool:
    """Return whether the local method of an optimizer, if it has its own, keeps a state."""
    return local is not None and bool(jax.tree.leaves(jax.eval_shape(local.init, jax.ShapeDtypeStruct((), "float32"))))
