"""The user's own tables: CSV and Parquet files, and folders of Arrow files."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from distopt.datasets import documents
from distopt.datasets.dataset import Dataset
from distopt.datasets.frames import Frame, like_numbers, read
from distopt.datasets.own import Part, assemble, finite
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
    frame = read(settings, "file")
    columns = _features(frame, settings)
    train = _part(frame, columns, settings, "file")
    told, warnings = _told(frame, columns, settings, "file"), _warnings(train, columns, settings)
    validation = None
    if settings.get("validation_file"):
        other = read(settings, "validation_file")
        validation = _part(other, columns, settings, "validation_file")
        told += _told(other, columns, settings, "validation_file")
    dataset = assemble(settings, train, validation, names=label_columns(settings), key=_key(frame, settings))
    if settings.get("standardize", True):
        dataset = _standardized(dataset)
    return dataset._replace(told=(*told, *dataset.told), warnings=(*warnings, *dataset.warnings))


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


def _part(frame: Frame, columns: list[str], settings: Mapping[str, Any], key: str) -> Part:
    table, file, labels = frame.table, settings[key], label_columns(settings)
    for setting, names in (("features", columns), ("label", labels)):
        if unread := [f"{name} ({frame.unread[name]})" for name in names if name in frame.unread]:
            raise DataError(f"dataset.{setting}={', '.join(unread)}: neither numbers nor text in {file}; convert it")
        if missing := [name for name in names if name not in table.columns]:
            raise DataError(f"dataset.{setting}={', '.join(missing)}: no such column in {file}, {_names(table)}")
    numeric = set(table[columns].select_dtypes(["number", "bool"]).columns)
    if text := [name for name in columns if name not in numeric]:
        raise DataError(f"dataset.features={', '.join(text)}: not numeric in {file}; leave out or encode as numbers")
    x = [finite(table[name].to_numpy(np.float64, na_value=np.nan), file, f"column {name}") for name in columns]
    for label in labels:
        if missing_rows := int(table[label].isna().sum()):
            named = settings["name"] == "csv" and settings.get("keep_default_na", True)
            way = "; if NA, None or null is a class there, set dataset.keep_default_na=false"
            way = way if named and settings.get("kind", "classes") == "classes" else "; remove them"
            raise DataError(f"dataset.label={label}: missing in {missing_rows} rows of {file}{way}")
    whole = np.stack(x, axis=1)
    y = [_labels(table[label], file) for label in labels]
    told = y[0] if len(y) == 1 else np.stack(y, axis=1)
    return whole if settings.get("standardize", True) else whole.astype(np.float32), told


def _key(frame: Frame, settings: Mapping[str, Any]) -> np.ndarray | None:
    """Return the values by which shards may differ, None if no column is named; each text is a number."""
    import pandas as pd

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
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy()
    return pd.factorize(column.astype(str), sort=True)[0]


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


def _told(frame: Frame, columns: list[str], settings: Mapping[str, Any], key: str) -> list[str]:
    """Return in a line what is taken of a table and what is not."""
    left_out = {str(name): "text" for name in frame.table} | frame.apart | frame.unread
    numeric = map(str, frame.table.select_dtypes(["number", "bool"]).columns)
    left_out |= {name: "not in dataset.features" for name in numeric if left_out[name] == "text"}
    if key == "validation_file":
        left_out |= {name: "no feature" for name, why in left_out.items() if why == "not in dataset.features"}
    for name in (*columns, *label_columns(settings), str(settings.get("key"))):
        left_out.pop(name, None)
    words = f"{settings[key]}: {len(frame.table):,} rows"
    if key == "file":
        words += f", {len(columns)} feature{'s' * (len(columns) > 1)}: {_some(columns)}"
        same = [name for name in columns if frame.table[name].nunique() == 1]
        words += f"; constant: {_some(same)}" if same else ""
    return [words + (f"; left out: {_some([f'{n} ({why})' for n, why in left_out.items()])}" if left_out else "")]


def _warnings(part: Part, columns: list[str], settings: Mapping[str, Any]) -> list[str]:
    """Return what may make features of a table worthless: they number the rows, or tell the label."""
    x, y = part
    found = []
    for i, name in enumerate(columns):
        if y.dtype.kind in "iuf" and np.array_equal(x[:, i], y):
            found.append(f"dataset.file: column {name} is the label once more; leave it out of dataset.features")
        elif settings.get("features") is None and settings.get("index_col") is None and _counts(x[:, i]):
            found.append(
                f"dataset.file: column {name} numbers the rows; leave it out with dataset.index_col={name}, "
                "or keep it with dataset.index_col=false"
            )
    return found


def _counts(values: np.ndarray) -> bool:
    """Return whether values are consecutive whole numbers, each of them once, in any order."""
    return len(values) >= COUNTING and bool((np.diff(np.sort(values)) == 1).all() and values[0] == np.floor(values[0]))


def _some(names: Sequence[str]) -> str:
    """Return the first names in words, and how many others there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _standardized(dataset: Dataset) -> Dataset:
    x = dataset.train[0]
    mean, spread = x.mean(axis=0), x.std(axis=0)
    constant = x.min(axis=0) == x.max(axis=0)  # rounding may leave a spread of 1e-15
    mean[constant], spread[constant] = x[0, constant], 1
    parts = [(((x - mean) / spread).astype(np.float32), y) for x, y in (dataset.train, dataset.validation)]
    return dataset._replace(train=parts[0], validation=parts[1])
