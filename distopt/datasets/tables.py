"""The user's own tables: CSV and Parquet files."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distopt.datasets.dataset import Dataset
from distopt.datasets.own import Part, assemble, finite
from distopt.errors import DataError, listed
from distopt.files.untrusted import BROKEN, need, read_csv, reason, regular

if TYPE_CHECKING:
    import pandas as pd

PARQUET_ROOM = 32  # bytes of memory per value while a table is read
LONGEST_LABEL = 1000  # characters; NumPy gives every label the memory of the longest one


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load columns of a table: one row per sample, features of shape (number of feature columns,).

    With `standardize` each feature is shifted and scaled to mean 0 and standard deviation 1 over the training part; a
    constant feature becomes 0.

    Raises:
        DataError: the file is missing, damaged or empty or lacks a column, or a column has a wrong type or value.
    """
    table = _read(settings, "file")
    columns = _features(table, settings)
    train = _part(table, columns, settings, "file")
    validation = None
    if settings.get("validation_file"):
        validation = _part(_read(settings, "validation_file"), columns, settings, "validation_file")
    dataset = assemble(settings, train, validation)
    return _standardized(dataset) if settings.get("standardize", True) else dataset


def _read(settings: Mapping[str, Any], key: str) -> "pd.DataFrame":
    file = settings[key]
    try:
        table = read_csv(Path(file)) if settings["name"] == "csv" else _read_parquet(regular(file))
    except FileNotFoundError as error:
        raise DataError(f"dataset.{key}={file}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"dataset.{key}={file}: is not UTF-8 text (byte {error.start}); convert or unpack it"
        ) from error
    except BROKEN as error:
        raise DataError(f"dataset.{key}={file}: cannot be read as {settings['name']} ({reason(error)})") from error
    if table.empty:
        raise DataError(f"dataset.{key}={file}: holds no samples")
    return table


def _read_parquet(path: Path) -> "pd.DataFrame":
    """Read the columns of plain numbers and text; text stays encoded, as a kilobyte can unpack to gigabytes of it."""
    import pyarrow.parquet as pq
    import pyarrow.types as kinds

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        text = [field.name for field in schema if kinds.is_string(field.type) or kinds.is_large_string(field.type)]
        columns = [*text, *(f.name for f in schema if kinds.is_primitive(f.type) or kinds.is_dictionary(f.type))]
        if len(set(columns)) < len(columns):
            raise ValueError("two columns have the same name")
        need(file.metadata.num_rows * len(columns) * PARQUET_ROOM, f"{path.name} ({file.metadata.num_rows:,} rows)")
    with pq.ParquetFile(path, read_dictionary=text) as file:
        wanted = [name for name in schema.names if name in set(columns)]
        return file.read(columns=wanted, use_threads=False).to_pandas(use_threads=False)


def _features(table: "pd.DataFrame", settings: Mapping[str, Any]) -> list[str]:
    """Return the feature columns: those in the settings, or all numeric columns but the label."""
    label, chosen = settings.get("label", "label"), settings.get("features")
    if chosen is not None:
        return list(chosen)
    columns = [str(name) for name in table.select_dtypes(["number", "bool"]).columns if name != label]
    if not columns:
        raise DataError(f"dataset.file={settings['file']}: no numeric column besides the label {label}")
    _check_left_out(table.drop(columns=[*columns, label], errors="ignore"), settings["file"])
    return columns


def _check_left_out(table: "pd.DataFrame", file: str) -> None:
    """Refuse columns that are text only because of a typing error: they would be left out unnoticed."""
    import pandas as pd

    for name in table.select_dtypes(["object", "string"]).columns:
        numbers = pd.to_numeric(table[name].astype(str), errors="coerce").notna()
        if numbers.mean() > 0.5:
            slip = str(table[name][~numbers].iloc[0])[:40] if not numbers.all() else "a huge number"
            raise DataError(f"{file}: column {name} is all numbers but for {slip!r}; mend it or set dataset.features")


def _part(table: "pd.DataFrame", columns: list[str], settings: Mapping[str, Any], key: str) -> Part:
    file, label = settings[key], settings.get("label", "label")
    for setting, names in (("features", columns), ("label", [label])):
        if missing := [name for name in names if name not in table.columns]:
            available = listed(map(str, table.columns))
            raise DataError(f"dataset.{setting}={', '.join(missing)}: no such column in {file}, it has {available}")
    numeric = set(table[columns].select_dtypes(["number", "bool"]).columns)
    if text := [name for name in columns if name not in numeric]:
        raise DataError(f"dataset.features={', '.join(text)}: not numeric in {file}; leave out or encode as numbers")
    x = [finite(table[name].to_numpy(np.float64, na_value=np.nan), file, f"column {name}") for name in columns]
    if table[label].isna().any():
        raise DataError(f"dataset.label={label}: missing in {table[label].isna().sum()} rows of {file}")
    return np.stack(x, axis=1), _labels(table[label], file)


def _labels(column: "pd.Series", file: str) -> np.ndarray:
    from pandas.api.types import is_numeric_dtype

    if is_numeric_dtype(column):
        return column.to_numpy(np.float64)
    if max(len(str(name)) for name in column.unique()) > LONGEST_LABEL:
        raise DataError(
            f"{file}: column {column.name} has labels of more than {LONGEST_LABEL} characters; is it the label?"
        )
    return column.astype(str).to_numpy(str)


def _standardized(dataset: Dataset) -> Dataset:
    mean = dataset.train_x.mean(axis=0, dtype=np.float64)
    spread = dataset.train_x.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1
    return dataset._replace(
        train_x=((dataset.train_x - mean) / spread).astype(np.float32),
        validation_x=((dataset.validation_x - mean) / spread).astype(np.float32),
    )
