"""Hashes of a configuration that identify equal runs; `provenance.code` identifies the code."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distopt.files import digest
from distopt.settings import flat

#: settings that do not change what a run computes, only where it is written and how it is watched and kept
IRRELEVANT = {"output", "name", "seeds", "trackers", "trackers_output", "launcher.log_to_driver", "launcher.timeout"}
IRRELEVANT |= {"resume", "checkpoint.every", "checkpoint.seconds", "launcher.on_worker_loss"}
IRRELEVANT |= {"launcher.on_server_loss", "dataset.resident"}
DISTILLATION = {"distillation.temperature", "distillation.share"}
#: settings that name files: their content counts, not their path; a folder counts by the files in it
FILES = {"dataset.file", "dataset.validation_file", "launcher.trace", "cluster.step.trace", "teacher"}
#: the file that counts where a setting names the folder of a run
WITHIN = {"teacher": "model.npz"}
#: settings that mostly decide how long a run takes, by key or by group
COSTLY = {"launcher", "model", "dataset", "workers", "batch_size", "epochs", "steps", "tokens", "evaluate", "stop"}
COSTLY |= {"optimizer.window"}


def fingerprint(plain: Mapping[str, Any]) -> str:
    """Return a hash of the settings that decide a run's numbers.

    The order of keys, `1` against `1.0`, and the settings in `IRRELEVANT` make no difference; files count by content,
    and how to learn from a teacher counts if there is one.
    """
    ignored = IRRELEVANT if plain.get("teacher") else IRRELEVANT | DISTILLATION
    settings = {key: value for key, value in flat(plain).items() if key not in ignored}
    return _hash({key: _content(key, value) if key in FILES else value for key, value in settings.items()})


def workload(plain: Mapping[str, Any]) -> str:
    """Return a hash of the settings that decide how long a run takes; runs with equal hashes take similar times."""
    settings = flat(plain)
    return _hash({key: value for key, value in settings.items() if {key, key.partition(".")[0]} & COSTLY})


def _hash(settings: Mapping[str, Any]) -> str:
    numbers = {key: _number(value) for key, value in settings.items()}
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:16]


def _number(value: Any) -> Any:
    """Return numbers as floats, also those in lists."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def located(plain: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """Return settings whose paths of files are absolute: they mean the same in every working folder."""
    found = {key: dict(value) if isinstance(value, Mapping) else value for key, value in plain.items()}
    for key in FILES:
        *groups, name = key.split(".")
        node: Any = found
        for group in groups:
            node = node.get(group) if isinstance(node, dict) else None
        if isinstance(node, dict) and isinstance(node.get(name), str):
            node[name] = str((folder or Path.cwd()) / os.path.expanduser(node[name]))
    return found


def contents(plain: Mapping[str, Any]) -> dict[str, str]:
    """Return a hash of each file that the settings name and that can be read, by the key of the setting."""
    named = {key: str(value) for key, value in flat(plain).items() if key in FILES and value is not None}
    found = {key: _content(key, path) for key, path in named.items()}
    return {key: mark for key, mark in found.items() if mark is not None and mark != named[key]}


def _content(key: str, path: str | None) -> str | None:
    """Return a hash of the content of the file or folder that a setting names, or the path if it cannot be read."""
    if path is None:
        return None
    try:
        return digest.of_file(Path(path) / WITHIN[key] if key in WITHIN else path)
    except (OSError, RuntimeError, ValueError):
        return path
