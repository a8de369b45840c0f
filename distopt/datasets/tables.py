"""The user's own tables: CSV and Parquet files, and folders of Arrow files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from distopt.datasets import conversion, documents
from distopt.datasets.conversion import Columns
from distopt.datasets.dataset import Dataset
from distopt.datasets.frames import Frame, head, like_numbers, pieces, read
from distopt.datasets.mapped import Rowed, Rows, chunks, extent, moments, scaled
from distopt.datasets.own import assemble, finite
from distopt.datasets.settings import label_columns
from distopt.errors import DataError, listed

if TYPE_CHECKING:
    import pandas as pd

LONGEST_LABEL = 1000  # characters; NumPy gives every label the memory of the longest one
NAMED = 5  # columns that are told by name
THOUSANDS = r"-?[1-9]\d{0,2}([., ']\d{3})+([.,]\d+)?"
COUNTED = 10_000  # texts that are looked at
COUNTING = 10  # rows from which a column that counts them is no accident


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load columns of a table: one row per sample, features of shape (number of feature columns,); or its `text`.

    With `standardize` each feature is shifted and scaled to mean 0 and standard deviation 1 over the training part; a
    constant feature becomes 0. Numbers have double precision until then.

    Raises:
        DataError: the file is missing, damaged or empty or lacks a column, or a column has a wrong type or value.
    """
    if settings.get("text"):
        return documents.load(settings)
    train = _taken(settings, "file")
    validation = _taken(settings, "validation_file", train.columns) if settings.get("validation_file") else None
    told, warnings = train.told, _warnings(train, settings)
    if validation:
        told += validation.told
    part = None if validation is None else (validation.x, validation.y)
    dataset = assemble(settings, (train.x, train.y), part, names=label_columns(settings), key=train.key)
    if settings.get("standardize", True):
        dataset = _standardized(dataset)
    return dataset._replace(told=(*told, *dataset.told), warnings=(*warnings, *dataset.warnings))


class _Taken(NamedTuple):
    """What is taken of a table."""

    x: Rowed  # in double precision if it will be standardized, else float32
    y: np.ndarray
    key: np.ndarray | None
    columns: list[str]  # the features
    extent: tuple[np.ndarray, np.ndarray]  # least and largest value of each column
    told: list[str]


def _taken(settings: Mapping[str, Any], key: str, columns: list[str] | None = None) -> _Taken:
    """Take the feature `columns` of a table, by default those of the settings; what does not fit is converted."""
    large = conversion.large(settings, key)
    frame = head(settings, key) if large else read(settings, key)
    columns = _features(frame, settings) if columns is None else columns
    _check_columns(frame, columns, settings, key)
    if large:
        chosen = columns
        x, y, by = conversion.convert(settings, key, chosen, lambda: _pieces(frame, chosen, settings, key))
    else:
        x, y, by = _values(frame, columns, settings, key)
        by = np.unique(by, return_inverse=True)[1] if by is not None and by.dtype == object else by
    least, most = extent(x)
    if not settings.get("standardize", True):
        x = x.astype(np.float32) if isinstance(x, np.ndarray) else Rows(x, dtype=np.float32)
    constant = [name for name, same in zip(columns, least == most, strict=True) if same]
    return _Taken(x, y, by, columns, (least, most), _told(frame, len(x), columns, constant, settings, key))


def _pieces(first: Frame, columns: list[str], settings: Mapping[str, Any], key: str) -> Iterator[Columns]:
    """Yield what is taken of each piece of a table, of which all must be like the first."""
    row, names = 0, [*columns, *label_columns(settings)]
    names += [settings["key"]] if key == "file" and settings.get("key") in first.table.columns else []
    for piece in pieces(settings, key, first):
        conversion.check(piece, row, first, names, settings, key)
        yield _values(piece, columns, settings, key)
        row += len(piece.table)


def _features(frame: Frame, settings: Mapping[str, Any]) -> list[str]:
    """Return the feature columns: those in the settings, or all numeric columns but the label and an index."""
    labels, chosen = label_columns(settings), settings.get("features")
    if chosen is not None:
        return list(chosen)
    table = frame.table.drop(columns=[*labels, settings.get("key"), *frame.apart], errors="ignore")
    columns = [str(name) for name in table.select_dtypes(["number", "bool"]).columns]
    text = table.drop(columns=columns)
    for name in text:
        _check_text(text[name], settings)
    if not columns:
        others = {**dict.fromkeys(map(str, text), "text"), **frame.unread}
        has = f", but {_some([f'{name} ({what})' for name, what in others.items()])}" if others else ""
        raise DataError(
            f"dataset.file={settings['file']}: no numeric column besides the label {', '.join(labels)}{has}"
        )
    return columns


def _check_text(column: "pd.Series", settings: Mapping[str, Any]) -> None:
    """Refuse a column that is text only because of how its numbers are written: it would be no feature."""
    where = f"{settings['file']}: column {column.name}"
    share, slip = like_numbers(column)
    if slip is None:
        raise DataError(f"{where} has numbers that are huge or kept as text; convert it or set dataset.features")
    if share > 0.5:
        but = repr(slip) if slip else "missing values"
        raise DataError(f"{where} is all numbers but for {but}; mend it or set dataset.features")
    _check_decimal(column, settings, where, slip)


def _check_decimal(column: "pd.Series", settings: Mapping[str, Any], where: str, slip: str) -> None:
    """Refuse text that is numbers with a decimal comma, or with separators of thousands."""
    grouped = column.dropna().astype(str).head(COUNTED).str.fullmatch(THOUSANDS)
    comma = settings["name"] == "csv" and settings.get("decimal", ".") == "." and like_numbers(column, ",")[0] > 0.5
    if len(grouped) and grouped.mean() > 0.5:
        way = ", or set 'dataset.decimal=\",\"' if that is its decimal sign" if comma else ""
        raise DataError(f"{where} has numbers such as {slip!r}: write them without separators of thousands{way}")
    if comma:
        raise DataError(f"{where} has numbers such as {slip!r}: set 'dataset.decimal=\",\"', or mend it")


def _check_columns(frame: Frame, columns: list[str], settings: Mapping[str, Any], key: str) -> None:
    """Refuse a table that lacks features or labels, or has other types of them."""
    table, file = frame.table, settings[key]
    for setting, names in (("features", columns), ("label", label_columns(settings))):
        if unread := [f"{name} ({frame.unread[name]})" for name in names if name in frame.unread]:
            raise DataError(f"dataset.{setting}={', '.join(unread)}: neither numbers nor text in {file}; convert it")
        if missing := [name for name in names if name not in table.columns]:
            raise DataError(f"dataset.{setting}={', '.join(missing)}: no such column in {file}, {_names(table)}")
    numeric = set(table[columns].select_dtypes(["number", "bool"]).columns)
    if text := [name for name in columns if name not in numeric]:
        raise DataError(f"dataset.features={', '.join(text)}: not numeric in {file}; leave out or encode as numbers")


def _values(frame: Frame, columns: list[str], settings: Mapping[str, Any], key: str) -> Columns:
    """Return features in double precision, labels, and of a table to train on the values of the key."""
    table, file, labels = frame.table, settings[key], label_columns(settings)
    x = [finite(table[name].to_numpy(np.float64, na_value=np.nan), file, f"column {name}") for name in columns]
    for label in labels:
        if missing_rows := int(table[label].isna().sum()):
            named = settings["name"] == "csv" and settings.get("keep_default_na", True)
            way = "; if NA, None or null is a class there, set dataset.keep_default_na=false"
            way = way if named and settings.get("kind", "classes") == "classes" else "; remove them"
            raise DataError(f"dataset.label={label}: missing in {missing_rows} rows of {file}{way}")
    y = [_labels(table[label], file) for label in labels]
    told = y[0] if len(y) == 1 else np.stack(y, axis=1)
    return Columns(np.stack(x, axis=1), told, _key(frame, settings) if key == "file" else None)


def _key(frame: Frame, settings: Mapping[str, Any]) -> np.ndarray | None:
    """Return the values by which shards may differ, None if no column is named."""
    from pandas.api.types import is_numeric_dtype

    name, file = settings.get("key"), settings["file"]
    if name is None:
        return None
    if name in frame.unread:
        raise DataError(f"dataset.key={name} ({frame.unread[name]}): neither numbers nor text in {file}; convert it")
    if name not in frame.table.columns:
        raise DataError(f"dataset.key={name}: no such column in {file}, {_names(frame.table)}")
    column = frame.table[name]
    if missing := int(column.isna().sum()):
        raise DataError(f"dataset.key={name}: missing in {missing} rows of {file}; remove them")
    return column.to_numpy() if is_numeric_dtype(column) else column.astype(str).to_numpy(object)


def _names(table: "pd.DataFrame") -> str:
    """Return the names of a table's columns in words, with a hint if they are none."""
    names = [str(name) for name in table.columns]
    numbers = all(name.replace(".", "", 1).lstrip("-").isdigit() for name in names)
    return f"it has {listed(names)}" + ("; the first line must name the columns" if numbers else "")


def _labels(column: "pd.Series", file: str) -> np.ndarray:
    from pandas.api.types import is_integer_dtype, is_numeric_dtype

    if is_numeric_dtype(column):
        if not is_integer_dtype(column):
            return column.to_numpy(np.float64)
        return column.to_numpy(np.int64 if column.max() < 2**63 else np.uint64)  # float64 has not all of them
    if max(len(str(name)) for name in column.unique()) > LONGEST_LABEL:
        raise DataError(
            f"{file}: column {column.name} has labels of more than {LONGEST_LABEL} characters; is it the label?"
        )
    return column.astype(str).to_numpy(str)


def _told(
    frame: Frame, rows: int, columns: list[str], constant: list[str], settings: Mapping[str, Any], key: str
) -> list[str]:
    """Return in a line what is taken of a table and what is not."""
    left_out = {str(name): "text" for name in frame.table} | frame.apart | frame.unread
    numeric = map(str, frame.table.select_dtypes(["number", "bool"]).columns)
    left_out |= {name: "not in dataset.features" for name in numeric if left_out[name] == "text"}
    if key == "validation_file":
        left_out |= {name: "no feature" for name, why in left_out.items() if why == "not in dataset.features"}
    for name in (*columns, *label_columns(settings), str(settings.get("key"))):
        left_out.pop(name, None)
    words = f"{settings[key]}: {rows:,} rows"
    if key == "file":
        words += f", {len(columns)} feature{'s' * (len(columns) > 1)}: {_some(columns)}"
        words += f"; constant: {_some(constant)}" if constant else ""
    return [words + (f"; left out: {_some([f'{n} ({why})' for n, why in left_out.items()])}" if left_out else "")]


def _warnings(train: _Taken, settings: Mapping[str, Any]) -> list[str]:
    """Return what may make features of a table worthless: they number the rows, or tell the label."""
    x, y, (least, most) = train.x, train.y, train.extent
    judged, found = settings.get("features") is None and settings.get("index_col") is None, []
    for i, name in enumerate(train.columns):  # extremes first: a column of a large table takes a while to read
        alike = y.ndim == 1 and y.dtype.kind in "iuf" and bool(least[i] == y.min() and most[i] == y.max())
        if alike and np.array_equal(_column(x, i), y):
            found.append(f"dataset.file: column {name} is the label once more; leave it out of dataset.features")
        elif judged and most[i] - least[i] == len(x) - 1 and _counts(_column(x, i)):
            found.append(
                f"dataset.file: column {name} numbers the rows; leave it out with dataset.index_col={name}, "
                "or keep it with dataset.index_col=false"
            )
    return found


def _column(x: Rowed, i: int) -> np.ndarray:
    """Return a column of an array of which the whole may be too large."""
    return np.concatenate([rows[:, i] for _, rows in chunks(x)])


def _counts(values: np.ndarray) -> bool:
    """Return whether values are consecutive whole numbers, each of them once, in any order."""
    return len(values) >= COUNTING and bool((np.diff(np.sort(values)) == 1).all() and values[0] == np.floor(values[0]))


def _some(names: Sequence[str]) -> str:
    """Return the first names in words, and how many others there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _standardized(dataset: Dataset) -> Dataset:
    mean, spread = moments(dataset.train[0])
    least, most = extent(dataset.train[0])
    constant = least == most  # rounding may leave a spread of 1e-15
    mean[constant], spread[constant] = least[constant], 1
    train, validation = ((scaled(x, mean, spread), y) for x, y in (dataset.train, dataset.validation))
    return dataset._replace(train=train, validation=validation)
