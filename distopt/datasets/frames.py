"""Tables from CSV, Parquet and Arrow files: columns of numbers and of text, and what is no feature by itself."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from distopt.datasets.columns import ROOM, Parquet, kind, opened
from distopt.errors import DataError
from distopt.files.untrusted import BROKEN, csv_names, csv_pieces, read_csv, reason

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SEPARATORS = (",", ";", "\t", "|")
TAB = ("tab", r"\t")  # what a shell lets one type
UNNAMED = re.compile(r"Unnamed: \d+|__index_level_\d+__")  # what pandas calls columns without a name

PIECE = 64 << 20  # bytes of memory for a piece of a table, by estimate

NAMELESS, EMPTY = "row numbers without a name", "no name, no values"  # why columns are no features by themselves


class Frame(NamedTuple):
    """A table with columns of numbers, truth values and text."""

    table: "pd.DataFrame"
    apart: dict[str, str]  # columns that are features only if they are named, and why
    unread: dict[str, str]  # columns of other types, and what they are


def read(settings: Mapping[str, Any], key: str) -> Frame:
    """Read the table that a setting names.

    Raises:
        DataError: it is missing, damaged or empty, or is written otherwise than the settings say.
    """
    with _explained(settings, key):
        if settings["name"] == "csv":
            table = read_csv(Path(settings[key]), **_csv_options(settings, key))
            return _finished(_of_csv(table), settings, key)
        file = opened(settings, key)
        found = file.table([field.name for field in file.schema if kind(field)])
        return _finished(_of_columns(found, file.schema), settings, key)


def head(settings: Mapping[str, Any], key: str) -> Frame:
    """Read the first rows of the table that a setting names; raises as `read`."""
    for frame in pieces(settings, key):
        return frame
    raise DataError(f"dataset.{key}={settings[key]}: holds no samples")


def pieces(settings: Mapping[str, Any], key: str, first: Frame | None = None) -> Iterator[Frame]:
    """Read the table that a setting names in pieces that fit into memory, in a CSV or Parquet file.

    Columns of text in the `first` piece, where that is known, are text in all others. Raises as `read`.
    """
    with _explained(settings, key):
        if settings["name"] == "csv":
            options = _csv_options(settings, key)
            texts = [] if first is None else list(first.table.select_dtypes(exclude=["number", "bool"]).columns)
            rows = _rows(len(csv_names(Path(settings[key]), options["sep"])))
            for table in csv_pieces(Path(settings[key]), rows, dtype=dict.fromkeys(texts, str), **options):
                yield _finished(_of_csv(table), settings, key)
        else:
            file = Parquet(settings[key])
            names = [field.name for field in file.schema if kind(field)]
            for found in file.pieces(names, _rows(len(names))):
                yield _finished(_of_columns(found, file.schema), settings, key)


def _rows(columns: int) -> int:
    return max(1, PIECE // (ROOM * max(1, columns)))


@contextmanager
def _explained(settings: Mapping[str, Any], key: str) -> Iterator[None]:
    """Raise a DataError that says what is wrong with a file."""
    file = settings[key]
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"dataset.{key}={file}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"dataset.{key}={file}: is not UTF-8 text (byte {error.start}); convert or unpack it"
        ) from error
    except BROKEN as error:
        raise DataError(f"dataset.{key}={file}: cannot be read as {settings['name']} ({reason(error)})") from error


def _finished(frame: Frame, settings: Mapping[str, Any], key: str) -> Frame:
    if not len(frame.table):
        raise DataError(f"dataset.{key}={settings[key]}: holds no samples")
    return frame._replace(apart=_without_index(frame, settings, key))


def _csv_options(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return how a CSV file is read; refuse one whose first line is not separated so."""
    path, sep = Path(settings[key]), settings.get("sep", ",")
    sep = "\t" if sep in TAB else sep
    header = settings.get("header", True)
    if header:
        _check_separator(csv_names(path, sep), sep, f"{settings[key]}")
    return {
        "header": 0 if header else None,
        "sep": sep,
        "decimal": settings.get("decimal", "."),
        "na_values": settings.get("na_values"),
        "keep_default_na": settings.get("keep_default_na", True),
    }


def _of_csv(table: "pd.DataFrame") -> Frame:
    table.columns = table.columns.astype(str)  # positions, where the file names none
    apart = {}
    for i, name in enumerate(table.columns):
        if UNNAMED.fullmatch(name) and i and table[name].isna().all():
            apart[name] = EMPTY
        elif UNNAMED.fullmatch(name):
            apart[name] = NAMELESS
    return Frame(table, apart, {})


def _check_separator(names: Sequence[str], sep: str, file: str) -> None:
    """Refuse a table whose first line is not separated as the settings say."""
    others = [other for other in SEPARATORS if other != sep and len(names) == 1 and other in names[0]]
    if others:
        other = "tab" if others[0] == "\t" else f'"{others[0]}"'
        raise DataError(f"{file}: its first line is not separated by {sep!r}; set 'dataset.sep={other}'")


def _of_columns(found: "pa.Table", schema: "pa.Schema") -> Frame:
    """Take columns of numbers and of text."""
    import pyarrow as pa

    kinds = {field.name: kind(field) for field in schema}
    for i, name in enumerate(found.column_names):
        column, what = found.column(i), kinds[name]
        if what == "decimal":
            found = found.set_column(i, name, column.cast(pa.float64()))
        elif what == "flag" and column.null_count:  # pandas would make it objects
            found = found.set_column(i, name, column.cast(pa.int8()))
        elif what == "encoded number":
            found = found.set_column(i, name, column.cast(column.type.value_type))
    table = found.to_pandas(use_threads=False, ignore_metadata=True)
    levels = (schema.pandas_metadata or {}).get("index_columns", ())
    apart = dict.fromkeys([level for level in levels if isinstance(level, str)], "the table's index")
    apart |= dict.fromkeys([name for name in table if UNNAMED.fullmatch(name)], NAMELESS)
    return Frame(table, apart, {field.name: str(field.type) for field in schema if not kinds[field.name]})


def _without_index(frame: Frame, settings: Mapping[str, Any], key: str) -> dict[str, str]:
    """Return the columns to keep apart once `dataset.index_col` is known: null (judge by the name), false, or one."""
    index, names = settings.get("index_col"), list(frame.table.columns)
    apart = {name: why for name, why in frame.apart.items() if index is not False or why == EMPTY}
    if index is False:
        return apart
    there = index in names or (isinstance(index, int) and index < len(names))
    if index is not None and there:
        apart[index if index in names else names[index]] = "dataset.index_col"
    elif index is not None and key == "file":
        raise DataError(f"dataset.index_col={index}: no such column in {settings[key]}")
    nameless = [i for i, name in enumerate(names) if apart.get(name) == NAMELESS]
    if any(nameless) and settings["name"] == "csv":
        raise DataError(
            f"{settings[key]}: column {max(nameless) + 1} has values, but the first line has no name for it"
        )
    return apart


def like_numbers(column: "pd.Series", decimal: str = ".") -> tuple[float, str | None]:
    """Return which share of a column of text is numbers or truth values, and the first text that is none."""
    import pandas as pd

    codes, values = pd.factorize(column)
    texts = pd.Series(np.asarray(values, object), dtype=object).astype(str)
    if decimal == ",":
        texts = texts.str.replace(",", ".", regex=False)
    alike = (pd.to_numeric(texts, errors="coerce").notna() | texts.isin(["True", "False"])).to_numpy(bool)
    told = np.append(alike, False)[codes]  # code -1, a missing value, is none
    if told.all():
        return 1.0, None
    first = int(codes[~told][0])
    return float(told.mean()), "" if first < 0 else str(values[first])[:40]
