"""What the records of a run can hold: kinds and ranges, checked before anything is computed from them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from distopt.errors import ResultsError
from distopt.records import COLUMNS, STATUSES
from distopt.settings import NAMED, WORD, Check, list_of, number, one_of, or_null, whole

OPTIONAL = ("accepted", "kept", "accuracy")  # columns that not every table has
REQUIRED = {table: tuple(name for name in columns if name not in OPTIONAL) for table, columns in COLUMNS.items()}
MOST = 10_000_000  # workers, and updates of staleness: tables and histograms have a place for each
COUNTS = {"update": 2**53, "worker": MOST, "staleness": MOST, "steps": 2**53, "samples": 2**53}
COUNTS |= {"bytes_up": 2**53, "bytes_down": 2**53, "accepted": 1}
COUNTS |= {"lost_steps": 2**53, "sequence": 2**53, "first_step": 2**53, "owner": MOST, "kept": 1}
TEXT = {"split", "kind", "reason"}


Rules = Mapping[str, Check]
NUMBER = or_null(number())
_SECONDS = or_null(number()._replace(words="a number of seconds"))
_COUNT = whole(0, 2**53)._replace(words="a whole number")
INFO: Rules = {
    "status": one_of(*STATUSES),
    "clock": one_of("virtual", "wall")._replace(words="virtual or wall"),
    "reason": or_null(WORD._replace(words="text")),
    "workers": whole(0, MOST)._replace(words=f"a whole number up to {MOST}"),
    **dict.fromkeys(("train_samples", "parameters", "classes"), or_null(_COUNT)),
    **dict.fromkeys(("train_s", "virtual_s", "evaluate_s", "startup_s", "compile_s", "total_s"), _SECONDS),
    "warnings": list_of(WORD, "a list of text"),
    "resumed": list_of(NAMED, "a list of settings"),
    "actors": or_null(list_of(NAMED, "a list of settings")),
    "teacher": or_null(NAMED),
    **dict.fromkeys(("versions", "host", "contents"), NAMED),
    "metrics": Check("a list of names and whether higher or lower is better", lambda value: are_metrics(value)),
}
CONFIG: Rules = {
    "seed": _COUNT,
    "workers": whole(1, 2**53)._replace(words="a whole number from 1"),
    "optimizer": Check(
        "settings with a name", lambda value: NAMED.accepts(value) and isinstance(value.get("name"), str)
    ),
    **dict.fromkeys(("local", "model", "dataset", "launcher", "cluster", "evaluate", "stop"), NAMED),
}


def are_metrics(value: Any) -> bool:
    """Return whether a value describes the metrics of a run."""
    names = [each.get("name") for each in value] if list_of(NAMED, "", least=1).accepts(value) else [None]
    words = all(isinstance(name, str) and name.isidentifier() for name in names) and len({*names}) == len(names)
    return words and all(
        each.get("better") in ("higher", "lower")
        and all(isinstance(each.get(key, ""), str) for key in ("unit", "format"))
        and re.fullmatch(r"#?,?(\.\d)?[efg%]", each.get("format", ".4f")) is not None
        for each in value
    )


def check_mapping(path: Path, content: Mapping[str, Any], rules: Rules) -> None:
    """Raise ResultsError if a value in a file is not what `distopt` writes there."""
    for key, check in rules.items():
        if key in content and not check.accepts(content[key]):
            raise ResultsError(
                f"{path}: {key}={str(content[key])[:60]} must be {check.words}; delete the folder or repeat the run"
            )


def check_table(path: Path, frame: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """Raise ResultsError if a column is missing or holds values that no run records."""
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
