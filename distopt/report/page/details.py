"""Settings, provenance and files of every run, divided into what all runs share and what differs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from distopt.report.comparison.grouping import flatten
from distopt.runs.results import Run

LONGEST = 160  # characters of a value
Values = dict[str, str]


class Details(NamedTuple):
    """`settings` and `provenance` by dotted key: the values that all runs share, and for each run the others."""

    common: dict[str, Values]
    own: list[dict[str, Values]]


def details(runs: Sequence[Run]) -> Details:
    """Return the settings (`config.yaml`) and the provenance (`run.json`) of all runs, without null values."""
    kinds = {"settings": [_texts(run.config) for run in runs], "provenance": [_texts(run.info) for run in runs]}
    common = {kind: _shared(every) for kind, every in kinds.items()}
    own = [
        {
            kind: {k: v for k, v in values.items() if k not in common[kind]}
            for kind, values in zip(kinds, each, strict=True)
        }
        for each in zip(*kinds.values(), strict=True)
    ]
    return Details(common, own)


def files(run: Run, folder: Path) -> dict[str, Any]:
    """Return a run's name, its files, and its folder's address relative to `folder`.

    The address is quoted, and begins with `./` so that a browser always reads it as a path.
    """
    address = Path(os.path.relpath(run.folder.resolve(), folder.resolve())).as_posix()
    names = sorted(path.name for path in run.folder.iterdir() if path.is_file())
    return {"name": run.folder.name, "folder": f"./{quote(address)}/", "files": names}


def _shared(every: Sequence[Values]) -> Values:
    return {key: value for key, value in every[0].items() if all(other.get(key) == value for other in every)}


def _texts(mapping: Mapping[str, Any]) -> Values:
    return {key: text if len(text) <= LONGEST else f"{text[:LONGEST]} …" for key, text in flatten(mapping)}
