"""The user's own tables: CSV and Parquet files."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distopt.datasets.dataset import Dataset
from distopt.datasets.own import Part, assemble, finite
from distopt.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def load(settings: Mapping[str, Any]) -> Dataset:
    """Columns of a table: one row per sample, features of shape (number of feature columns,).

    With `standardize` each feature is shifted and scaled to mean 0 and standard deviation 1 over the training part; a
    constant feature becomes 0.

    Raises:
        DataError: the file is missing, damaged or empty, lacks a column, or a column is not what it should be.
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
    import pandas as pd

    file = settings[key]
    path = Path(file).expanduser()
    try:
        table = pd.read_csv(path, low_memory=False) if settings["name"] == "csv" else pd.read_parquet(path)
    except FileNotFoundError as error:
        raise DataError(f"dataset.{key}={file}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"dataset.{key}={file}: is not UTF-8 text (byte {error.start}); convert it") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        first_line = str(error).split("\n")[0]
        raise DataError(f"dataset.{key}={file}: cannot be read as {settings['name']} ({first_line})") from error
    if settings["name"] == "csv" and not table.index.equals(pd.RangeIndex(len(table))):
        raise DataError(f"dataset.{key}={file}: the first line names fewer columns than there are")
    if table.empty:
        raise DataError(f"dataset.{key}={file}: holds no samples")
    return table


def _features(table: "pd.DataFrame", settings: Mapping[str, Any]) -> list[str]:
    """The feature columns: those in the settings, or all numeric ones but the label."""
    label, chosen = settings.get("label", "label"), settings.get("features")
    if chosen is not None:
        return list(chosen)
    columns = [str(name) for name in table.select_dtypes(["number", "bool"]).columns if name != label]
    if not columns:
        raise DataError(f"dataset.file={settings['file']}: no numeric column besides the label {label}")
    return columns


def _part(table: "pd.DataFrame", columns: list[str], settings: Mapping[str, Any], key: str) -> Part:
    file, label = settings[key], settings.get("label", "label")
    for setting, names in (("features", columns), ("label", [label])):
        if missing := [name for name in names if name not in table.columns]:
            available = ", ".join(map(str, table.columns))
            raise DataError(f"dataset.{setting}={', '.join(missing)}: no such column in {file}, it has {available}")
    numeric = set(table[columns].select_dtypes(["number", "bool"]).columns)
    if text := [name for name in columns if name not in numeric]:
        raise DataError(f"dataset.features={', '.join(text)}: not numeric in {file}; leave out or encode as numbers")
    x = [finite(table[name].to_numpy(np.float64, na_value=np.nan), file, f"column {name}") for name in columns]
    if table[label].isna().any():
        raise DataError(f"dataset.label={label}: missing in {table[label].isna().sum()} rows of {file}")
    return np.stack(x, axis=1), _labels(table[label])


def _labels(column: "pd.Series") -> np.ndarray:
    from pandas.api.types import is_numeric_dtype

    return column.to_numpy(np.float64) if is_numeric_dtype(column) else column.astype(str).to_numpy(str)


def _standardized(dataset: Dataset) -> Dataset:
    mean = dataset.train_x.mean(axis=0, dtype=np.float64)
    spread = dataset.train_x.std(axis=0, dtype=np.float64)
    spread[spread == 0] = 1
    return dataset._replace(
        train_x=((dataset.train_x - mean) / spread).astype(np.float32),
        validation_x=((dataset.validation_x - mean) / spread).astype(np.float32),
    )
