"""Tables that do not fit into memory: their numbers and labels, in files that are made once."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from distopt.datasets import sources
from distopt.datasets.columns import ROOM, Parquet
from distopt.datasets.frames import Frame
from distopt.datasets.mapped import Mapped
from distopt.errors import DataError, unwritten
from distopt.files import digest, memory
from distopt.files.untrusted import BROKEN, CSV_ROOM, in_words, need, reason, unpacked_size

if TYPE_CHECKING:
    import pandas as pd

SHARE = 0.5  # of the free memory; a table that needs more by estimate is converted
CACHE = "tables"
FORM = "1"  # of the files that are made; another one makes them anew
SAID = ("name", "sep", "decimal", "na_values", "keep_default_na", "label")  # settings by which a table is read
NUMBER = np.dtype("<f8")


class Columns(NamedTuple):
    """What is taken of a table: features (N, d), labels (N,) or (N, labels), and values of the key (N,)."""

    x: Any
    y: np.ndarray
    key: np.ndarray | None


def large(settings: Mapping[str, Any], key: str) -> bool:
    """Return whether a table in a CSV or Parquet file needs too much memory; of what cannot be read, False."""
    most = SHARE * memory.free()
    try:
        if settings["name"] == "csv":
            return unpacked_size(settings[key], most / CSV_ROOM) * CSV_ROOM > most
        if settings["name"] == "parquet":
            file = Parquet(settings[key])
            return file.rows * len(file.schema) * ROOM > most
    except BROKEN:  # whoever reads it says why
        pass
    return False


def check(piece: Frame, row: int, head: Frame, names: Sequence[str], settings: Mapping[str, Any], key: str) -> None:
    """Refuse a piece of a table, from row number `row` on, of whose columns one has gaps or is not as in the `head`.

    Raises:
        DataError: the message names file, column and row.
    """
    for name in names:
        column, expected = piece.table[name], _kind(head.table[name])
        bad, way = _missing(column), "remove or fill it"
        what = "is missing or not finite"
        if settings["name"] == "csv" and settings.get("keep_default_na", True):
            way += "; if NA, None or null is a word there, set dataset.keep_default_na=false"
        if not bad.any() and _kind(column) != expected:
            bad = _others(column, expected)
            what = f"has {str(column.iloc[int(bad.argmax())])[:40]!r}, after {expected} in the first rows,"
            way = "mend it"
        if bad.any():
            raise DataError(
                f"{settings[key]}: column {name} {what} in sample {row + int(bad.argmax())} (counted from 0); {way}"
            )


def _kind(column: "pd.Series") -> str:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_bool_dtype(column):
        return "truth values"
    return "numbers" if is_numeric_dtype(column) else "text"


def _missing(column: "pd.Series") -> np.ndarray:
    """Return where values are missing, or beyond float32."""
    if _kind(column) == "text":
        return column.isna().to_numpy(bool)
    with np.errstate(over="ignore"):
        return ~np.isfinite(column.to_numpy(np.float64, na_value=np.nan).astype(np.float32))


def _others(column: "pd.Series", expected: str) -> np.ndarray:
    """Return where values of a column are not of the kind that is expected."""
    import pandas as pd

    texts = column.astype(str)
    truths = texts.isin(["True", "False"])
    fits = truths if expected == "truth values" else pd.to_numeric(texts, errors="coerce").notna() & ~truths
    return np.ones(len(column), bool) if fits.all() else ~fits.to_numpy(bool)


def convert(
    settings: Mapping[str, Any], key: str, columns: Sequence[str], parts: Callable[[], Iterator[Columns]]
) -> Columns:
    """Return the `parts` of a table as one, of which the features stay in a file of the cache; they are written once.

    Args:
        settings: of the data set.
        key: the setting that names the file.
        columns: the names of the features.
        parts: gives what is taken of each piece of the table, in order.

    Raises:
        DataError: the table has changed in between, or there is no room in the cache.
    """
    file = settings[key]
    try:
        content = digest.of_file(file)
    except BROKEN as error:
        raise DataError(f"dataset.{key}={file}: cannot be read ({reason(error)})") from error
    said = [FORM, content, list(columns), settings.get("key") if key == "file" else None]
    text = json.dumps([*said, *(settings.get(name) for name in SAID)], default=list)
    target = sources.cache(CACHE) / hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    try:
        if not target.exists():
            _write(parts(), target, lambda: _check_same(settings, key, content))
    except OSError as error:
        raise DataError(f"dataset.{key}={file}: {unwritten(error)} with XDG_CACHE_HOME") from error
    try:
        return _read(target, len(columns), Path(file).name)
    except MemoryError as error:
        raise DataError(f"dataset.{key}={file}: cannot be read ({reason(error)})") from error
    except BROKEN as error:
        raise DataError(f"dataset.{key}={file}: {target} is damaged ({reason(error)}); delete it") from error


def _check_same(settings: Mapping[str, Any], key: str, content: str) -> None:
    if digest.of_file(settings[key]) != content:
        raise DataError(f"dataset.{key}={settings[key]}: has changed while it was read; start the run anew")


def _write(parts: Iterator[Columns], target: Path, check: Callable[[], None]) -> None:
    """Write a folder, which appears under its name once it is whole, whoever else writes the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    room, needed = shutil.disk_usage(target.parent).free, 0
    y, by = _Column(), _Column()
    with tempfile.TemporaryDirectory(dir=target.parent) as above:
        folder = Path(above) / target.name
        folder.mkdir()
        with (folder / "x.bin").open("wb") as file:
            for part in parts:
                x = np.ascontiguousarray(part.x, NUMBER)
                needed += x.nbytes + NUMBER.itemsize * part.y.size
                if needed > room:
                    words = f"the table needs more than the {in_words(room)} that are free there"
                    raise OSError(errno.ENOSPC, words, str(target.parent))
                file.write(x.data)
                y.add(part.y)
                if part.key is not None:
                    by.add(part.key)
            file.flush()
            os.fsync(file.fileno())
        check()
        y.save(folder / "y.npz")
        if by:
            by.save(folder / "key.npz")
        try:
            folder.rename(target)
        except OSError:  # somebody was faster, and may be reading it
            if not target.is_dir():
                raise


def _read(folder: Path, width: int, name: str) -> Columns:
    """Return what `_write` wrote; raises one of `BROKEN`."""
    file = folder / "x.bin"
    x = Mapped(file, NUMBER, 0, (file.stat().st_size // (NUMBER.itemsize * width), width))
    y, names = _arrays(folder / "y.npz")
    if len(names):
        need(y.size * names.itemsize, f"the text of labels in {name}")
        y = names[y]
    if len(y) != len(x):
        raise ValueError(f"{len(x)} samples, but {len(y)} labels")
    by = folder / "key.npz"
    return Columns(x, y, _arrays(by)[0] if by.exists() else None)  # places of sorted texts differ as the texts do


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with path.open("rb") as file, np.load(file) as found:
        return found["values"], found["names"]


class _Column:
    """Labels in pieces: numbers as they are, texts as places in a list of them."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._pieces: list[np.ndarray] = []

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, values: np.ndarray) -> None:
        if values.dtype.kind in "OU":
            names, codes = np.unique(values, return_inverse=True)
            places = [self._places.setdefault(str(name), len(self._places)) for name in names]
            values = np.array(places, np.int32)[codes].reshape(values.shape)
        self._pieces.append(values)

    def save(self, path: Path) -> None:
        """Write the array `values`, and the sorted `names` of which they are places, none of numbers."""
        pieces = self._pieces
        if {each.dtype.str[1:] for each in pieces} == {"i8", "u8"} and all(each.min() >= 0 for each in pieces):
            pieces = [each.astype(np.uint64) for each in pieces]  # together they would be float64
        values, names = np.concatenate(pieces), np.zeros(0, "U1")
        if self._places:
            texts = np.array(list(self._places))
            order = np.argsort(texts)
            ranks = np.empty(len(order), np.int32)
            ranks[order] = np.arange(len(order))
            values, names = ranks[values], texts[order]
        with path.open("wb") as file:
            np.savez(file, values=values, names=names)
            file.flush()
            os.fsync(file.fileno())
