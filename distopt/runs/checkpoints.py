"""Checkpoints: what an interrupted run needs to resume. NumPy archives and JSON, never a pickle.

A checkpoint is two files below `checkpoints/` in the run's folder. `UPDATE.npz` holds the arrays. `UPDATE.json`,
written after it, holds everything else and the checksums of both. The last two checkpoints are kept: if one is damaged,
the one before is used.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distopt.errors import ResultsError
from distopt.files.atomic import replacing, write_atomically
from distopt.files.npz import read_arrays
from distopt.files.untrusted import BROKEN, read_mapping, reason, regular
from distopt.records import Checkpoint
from distopt.trees import is_key

KEPT = 2
FOLDER = "checkpoints"

_CONTENT = ("update", "time_s", "numbers", "types", "same", "arrays", "run", "rows")


class Due:
    """Says when the next checkpoint is due: `checkpoint.every` updates or `checkpoint.seconds` after the last one."""

    def __init__(self, settings: Mapping[str, Any], update: int = 0) -> None:
        self._every: int | None = settings["every"]
        self._seconds: float | None = settings["seconds"]
        self._update, self._since = update, time.monotonic()

    def __call__(self, update: int) -> bool:
        """Return whether one is due after an update."""
        late = self._seconds is not None and time.monotonic() - self._since >= self._seconds
        return update > self._update and (late or (self._every is not None and update - self._update >= self._every))

    def taken(self, update: int) -> None:
        """Note that one was taken after an update."""
        self._update, self._since = update, time.monotonic()


def wanted(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration asks for checkpoints."""
    return any(value is not None for value in config["checkpoint"].values())


def pack(tree: Any) -> dict[str, np.ndarray]:
    """Return the leaves of a tree on the host, by their paths; leaves that are one array stay one array."""
    seen: dict[int, np.ndarray] = {}
    leaves, _ = jax.tree.flatten_with_path(tree)
    for _, leaf in leaves:
        if id(leaf) not in seen:
            seen[id(leaf)] = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
    return {_name(path): seen[id(leaf)] for path, leaf in leaves}


def unpack(like: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Return the tree that was packed, on the device; leaves that were one array are one array again.

    Args:
        like: a tree of that structure and those shapes.
        arrays: by their paths in the tree.

    Raises:
        ResultsError: an array is missing or has another shape.
    """

    placed: dict[int, jax.Array] = {}

    def place(path: tuple[Any, ...], leaf: Any) -> jax.Array:
        name = _name(path)
        found, key = arrays.get(name), is_key(leaf)
        shape = jax.eval_shape(jax.random.key_data, leaf).shape if key else leaf.shape
        if found is None or found.shape != shape:
            have = "nothing" if found is None else f"shape {found.shape}"
            raise ResultsError(f"checkpoint: {name}: {have} where shape {shape} is needed; it is of another run")
        array = placed[id(found)] if id(found) in placed else placed.setdefault(id(found), jnp.array(found))
        return jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if key else array

    return jax.tree.map_with_path(place, like)


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into a run's folder, as a whole or not at all; remove all but the last `KEPT`."""
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    first: dict[int, str] = {}
    same = {name: first.setdefault(id(array), name) for name, array in checkpoint.arrays.items()}
    arrays = {name: array for name, array in checkpoint.arrays.items() if same[name] == name}
    path = place / f"{checkpoint.update}.npz"
    with replacing(path) as file:
        np.savez(file, **{name: _plain(array) for name, array in arrays.items()})  # type: ignore[arg-type]
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(file, "blake2b").hexdigest()  # type: ignore[arg-type]
    content = checkpoint._asdict() | {
        "types": {name: array.dtype.name for name, array in arrays.items()},
        "same": {name: other for name, other in same.items() if other != name},
        "arrays": digest,
    }
    write_atomically(
        path.with_suffix(".json"), json.dumps({"content": content, "checksum": _checksum(content)}).encode()
    )
    for old in _paths(folder)[KEPT:]:
        _remove(old)


def _remove(path: Path) -> None:
    """Remove a checkpoint, given by its JSON file; that goes first, because readers look for it alone."""
    path.unlink(missing_ok=True)
    path.with_suffix(".npz").unlink(missing_ok=True)


def latest(folder: Path, run: Mapping[str, Any], rows: Mapping[str, int]) -> tuple[Checkpoint | None, list[str]]:
    """Return the last sound checkpoint of a run or None, and one line for each later one that is not sound.

    Args:
        folder: the run's.
        run: seed, fingerprint and code that it must have.
        rows: the number of rows in each table; a checkpoint that needs more is not used.
    """
    problems: list[str] = []
    for path in _paths(folder):
        try:
            found = read(path)
            if found.run != run:
                raise ValueError("it is of another run")
            if short := [name for name, count in found.rows.items() if rows.get(name, 0) < count]:
                raise ValueError(f"rows of {', '.join(short)} before it are missing")
        except BROKEN as error:
            problems.append(f"{path}: is damaged ({reason(error)}) and not used")
            continue
        return found, problems
    return None, problems


def read(path: Path) -> Checkpoint:
    """Read a checkpoint by its JSON file and verify it; raises one of `distopt.files.untrusted.BROKEN`."""
    told = read_mapping(path)
    content = told.get("content")
    if not isinstance(content, dict) or told.get("checksum") != _checksum(content) or set(content) != set(_CONTENT):
        raise ValueError("its checksum is wrong")
    archive = path.with_suffix(".npz")
    with regular(archive).open("rb") as file:
        if hashlib.file_digest(file, "blake2b").hexdigest() != content["arrays"]:
            raise ValueError(f"the checksum of {archive.name} is wrong")
    types = content.pop("types")
    arrays = {name: array.view(jnp.dtype(types[name])) for name, array in read_arrays(archive).items()}
    arrays |= {name: arrays[other] for name, other in content.pop("same").items()}
    return Checkpoint(**content | {"arrays": arrays})


def forget(folder: Path, after: int) -> None:
    """Remove checkpoints later than an update, because the run may now take another course, and half-written ones."""
    for path in _paths(folder):
        if int(path.stem) > after:
            _remove(path)
    for partial in (folder / FOLDER).glob(".*.partial"):
        partial.unlink()


def identity(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of `run.json` that tell whether a checkpoint belongs to a run."""
    return {key: info.get(key) for key in ("seed", "fingerprint", "code")}


def exists(folder: Path) -> bool:
    """Return whether a run has checkpoints, sound or not."""
    return bool(_paths(folder))


def _paths(folder: Path) -> list[Path]:
    """Return the checkpoints of a run by their JSON files, the last one first."""
    paths = [path for path in (folder / FOLDER).glob("*.json") if path.stem.isdigit()]
    return sorted(paths, key=lambda path: -int(path.stem))


def _plain(array: np.ndarray) -> np.ndarray:
    """Return an array in a dtype that NumPy's files know: bfloat16 and the like as unsigned integers."""
    return array if array.dtype.kind in "biufc" else array.view(f"u{array.dtype.itemsize}")


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode()).hexdigest()
