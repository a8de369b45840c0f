"""What may be set for each data set, checked before anything is read."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distopt.datasets.partition import SCHEMES

_SHARDS = ("partition", "alpha")
_DOWNLOAD = (*_SHARDS, "root", "download")
_TABLE = (*_SHARDS, "file", "features", "label", "standardize", "validation_file", "validation_fraction")
_ARRAYS = (*_SHARDS, "file", "train_x", "train_y", "validation_x", "validation_y", "validation_fraction")
KEYS: dict[str, tuple[str, ...]] = {
    "digits": _SHARDS,
    "mnist": _DOWNLOAD,
    "fashion_mnist": _DOWNLOAD,
    "cifar10": _DOWNLOAD,
    "npz": _ARRAYS,
    "csv": _TABLE,
    "parquet": _TABLE,
    "none": (),
}


def check_settings(settings: Mapping[str, Any]) -> list[str]:
    """All problems with a data set's settings, one message each; empty if there are none. No file is looked at."""
    name = settings.get("name")
    if name not in KEYS:
        return [f"dataset.name={name}: unknown data set, choose one of {', '.join(KEYS)}"]
    keys = KEYS[name]
    problems = [
        f"dataset.{key}: unknown key, {name} has {', '.join(keys) or 'no settings'}"
        for key in settings
        if key != "name" and key not in keys
    ]
    for key in keys:
        valid, wanted = _RULES[key]
        if (key in settings or key == "file") and not valid(settings.get(key)):
            problems.append(f"dataset.{key}={_shown(settings.get(key))}: must be {wanted}")
    return problems + _contradictions(settings)


def _contradictions(settings: Mapping[str, Any]) -> list[str]:
    problems = []
    if (settings.get("validation_x") is None) != (settings.get("validation_y") is None):
        problems.append("dataset.validation_x and dataset.validation_y: name both or neither")
    features = settings.get("features")
    if _is_columns(features) and features and settings.get("label", "label") in features:
        problems.append(f"dataset.label={settings.get('label', 'label')}: is also one of dataset.features")
    return problems


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_columns(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False
    return len(value) > 0 and all(map(_is_text, value)) and len(set(value)) == len(value)


def _is_text_or_null(value: Any) -> bool:
    return value is None or _is_text(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _shown(value: Any) -> Any:
    return "null" if value is None else value


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "partition": (lambda value: isinstance(value, str) and value in SCHEMES, f"one of {', '.join(SCHEMES)}"),
    "alpha": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "root": (_is_text_or_null, "a folder, or null"),
    "download": (_is_bool, "true or false"),
    "file": (_is_text, "the path of a file"),
    "train_x": (_is_text, "the name of an array"),
    "train_y": (_is_text, "the name of an array"),
    "validation_x": (_is_text_or_null, "the name of an array, or null"),
    "validation_y": (_is_text_or_null, "the name of an array, or null"),
    "validation_fraction": (lambda value: _is_number(value) and 0 < value < 1, "a number between 0 and 1"),
    "validation_file": (_is_text_or_null, "the path of a file, or null"),
    "features": (_is_columns, "a list of different column names, or null for all numeric columns"),
    "label": (_is_text, "the name of a column"),
    "standardize": (_is_bool, "true or false"),
}
