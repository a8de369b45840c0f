"""What the records of a run can say: kinds and ranges, looked at before anything is computed from them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distopt.errors import ResultsError
from distopt.events import Event

OPTIONAL = ("accepted", "kept")  # columns that the records of earlier versions do not have
STATUSES = ("running", "done", "stopped", "diverged", "failed", "interrupted")
COLUMNS = {
    "commits": (
        *("update", "worker", "staleness", "time_s", "steps", "samples", "loss", "accuracy"),
        *("commit_norm", "distance", "bytes_up", "bytes_down"),
    ),
    "evals": ("update", "time_s", "samples", "split", "loss", "accuracy"),
    "events": tuple(name for name in Event._fields if name not in OPTIONAL),
}
MOST = 10_000_000  # workers, and updates of staleness: tables and histograms have a place for each
COUNTS = {"update": 2**53, "worker": MOST, "staleness": MOST, "steps": 2**53, "samples": 2**53}
COUNTS |= {"bytes_up": 2**53, "bytes_down": 2**53, "accepted": 1}
COUNTS |= {"lost_steps": 2**53, "sequence": 2**53, "first_step": 2**53, "owner": MOST, "kept": 1}
TEXT = {"split", "kind", "reason"}


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 2**53


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _optional(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(item, kind) for item in value)


Rules = Mapping[str, tuple[str, Callable[[Any], bool]]]
NUMBER = ("a number or null", _optional(_number))
_SECONDS = ("a number of seconds or null", _optional(_number))
_SETTINGS = ("settings by name", lambda value: isinstance(value, dict))
INFO: Rules = {
    "status": (f"one of {', '.join(STATUSES)}", lambda value: value in STATUSES),
    "clock": ("virtual or wall", lambda value: value in ("virtual", "wall")),
    "reason": ("text or null", _optional(lambda value: isinstance(value, str))),
    "workers": (f"a whole number up to {MOST}", lambda value: _whole(value) and value <= MOST),
    **dict.fromkeys(("train_samples", "parameters", "classes"), ("a whole number or null", _optional(_whole))),
    **dict.fromkeys(("train_s", "virtual_s", "evaluate_s", "startup_s", "compile_s", "total_s"), _SECONDS),
    "warnings": ("a list of text", _list_of(str)),
    "resumed": ("a list of settings", _list_of(dict)),
    "actors": ("a list of settings or null", _optional(_list_of(dict))),
    **dict.fromkeys(("versions", "host"), _SETTINGS),
}
CONFIG: Rules = {
    "seed": ("a whole number", _whole),
    "workers": ("a whole number from 1", lambda value: _whole(value) and value > 0),
    "optimizer": (
        "settings with a name",
        lambda value: isinstance(value, dict) and isinstance(value.get("name"), str),
    ),
    **dict.fromkeys(("local", "model", "dataset", "launcher", "cluster", "evaluate", "stop"), _SETTINGS),
}


def check_mapping(path: Path, content: Mapping[str, Any], rules: Rules) -> None:
    """Raise ResultsError if a value in a file is not what `distopt` writes there."""
    for key, (words, accepts) in rules.items():
        if key in content and not accepts(content[key]):
            raise ResultsError(
                f"{path}: {key}={str(content[key])[:60]} must be {words}; delete the folder or repeat the run"
            )


def check_table(path: Path, frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """Raise ResultsError if a column is missing or holds what no run can have recorded."""
    if absent := [column for column in columns if column not in frame]:
        raise ResultsError(f"{path}: has no column {', '.join(absent)}; repeat the run")
    for column in (*columns, *(column for column in OPTIONAL if column in frame)):
        values = frame[column]
        if column in TEXT:
            good = bool(values.map(lambda name: isinstance(name, str)).all())
        elif not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            good = False
        elif column in COUNTS:
            nobody = path.stem == "events" and column in ("worker", "owner")  # -1: it was the server
            good = bool((values.between(-1 if nobody else 0, COUNTS[column]) & (values % 1 == 0)).all())
        elif column == "accuracy":
            good = bool((values.between(0, 1) | values.isna()).all())
        else:
            good = column != "time_s" or bool(np.isfinite(values).all())
        if not good:
            raise ResultsError(f"{path}: column {column} holds what no run records; repeat the run")
