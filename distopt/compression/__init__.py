"""Compression of commits: fewer bytes per exchange for any rule that sends deltas, gradients or elastic differences."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from distopt.compression.exchange import compressed
from distopt.compression.rules import Compressor
from distopt.rules import DistributedOptimizer

__all__ = ["Compressor", "apply", "build", "compressed"]


def apply(optimizer: DistributedOptimizer, settings: Mapping[str, Any]) -> DistributedOptimizer:
    """Return an optimizer whose commits are compressed; with `name=none` the optimizer itself.

    Args:
        optimizer: any that sets `WorkerRule.sends`.
        settings: of the configuration group `compression`: `name` (`none`: no compression), `error_feedback` and the
            method's own.

    Raises:
        ValueError: invalid settings, or an optimizer whose commits cannot be compressed.
    """
    if settings["name"] == "none":
        return optimizer
    feedback = settings.get("error_feedback")
    if not isinstance(feedback, bool):
        raise ValueError(f"error_feedback={feedback} must be true or false")
    return compressed(optimizer, build(settings), feedback)


def build(settings: Mapping[str, Any]) -> Compressor:
    """Build the method of compression that settings describe, from `distopt.compression.NAME.NAME`.

    Raises:
        ValueError: no such method, or settings that are unknown to it, missing or refused.
    """
    name = settings["name"]
    arguments = {key: value for key, value in settings.items() if key not in ("name", "error_feedback")}
    try:
        make: Callable[..., Compressor] = getattr(importlib.import_module(f"distopt.compression.{name}"), name)
    except (ModuleNotFoundError, AttributeError):
        raise ValueError(f"name={name}: no such method; see `distopt list compression`") from None
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return make(**arguments)
