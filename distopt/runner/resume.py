"""Resumes a run that was cut off: in its folder, from its last sound checkpoint, else from its start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from distopt import config as configuration
from distopt.errors import ResultsError
from distopt.files.lock import Lock
from distopt.files.untrusted import BROKEN, read_mapping, reason
from distopt.records import ANSWERED, COLUMNS, Checkpoint
from distopt.runs import checkpoints
from distopt.runs.growing_table import read_table
from distopt.runs.provenance import code_of


class Cut(NamedTuple):
    """A run that was cut off, and that this process has locked."""

    folder: Path
    lock: Lock
    info: dict[str, Any]  # entries of `run.json` that stay
    start: Checkpoint | None  # None: no sound checkpoint, it starts over
    problems: list[str]  # a line for each checkpoint that is damaged
    reason: str  # how it ended


def pick_up(config: Mapping[str, Any]) -> Cut:
    """Take over the run that `resume` names.

    Raises:
        ResultsError: there is no run, it is still running or has finished, or its settings, data or code have changed.
    """
    folder = Path(config["resume"])
    try:
        info = read_mapping(folder / "run.json")
    except BROKEN as error:
        raise ResultsError(f"resume={folder}: run.json cannot be read ({reason(error)}); start a new run") from None
    lock = Lock(folder)
    if info.get("status") in ANSWERED and (folder / "summary.json").is_file():
        raise ResultsError(f"resume={folder}: the run is {info['status']}, there is nothing left to do")
    run = {
        "seed": config["seed"],
        "fingerprint": configuration.fingerprint(config),
        "code": code_of(config),
    }
    for key, words in (("fingerprint", "settings or data files"), ("code", "code or versions of libraries")):
        if info.get(key) != run[key]:
            raise ResultsError(
                f"resume={folder}: the run began with other {words} ({key} {info.get(key)}, now {run[key]}): its rest "
                "would be another run; bring them back, or start a new run"
            )
    try:
        tables = {name: read_table(folder / f"{name}.arrow") for name in COLUMNS}
    except BROKEN as error:
        raise ResultsError(f"resume={folder}: a table is damaged ({reason(error)}); start a new run") from None
    rows = {name: table.num_rows for name, table in tables.items() if table is not None}
    start, problems = checkpoints.latest(folder, run, rows)
    kept: dict[str, Any] = {key: info[key] for key in ("started", "resumed") if key in info}
    status = "killed" if info.get("status") == "running" else f"{info.get('status')}"
    words = f"the run was {status}" + (f" ({info['reason']})" if info.get("reason") else "")
    return Cut(folder, lock, kept, start, problems, words)
