"""Data sets by name: samples in memory, dealt out to the workers and drawn in a fixed order."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from distopt.datasets.dataset import Dataset
from distopt.datasets.settings import check_settings
from distopt.errors import DataError

__all__ = ["NAMES", "Dataset", "check_settings", "describe", "found", "load"]

# name -> (module with the loader, description)
_DATASETS = {
    "digits": ("digits", "8 x 8 handwritten digits that come with scikit-learn; 1,797 samples, 10 classes"),
    "mnist": ("idx", "28 x 28 handwritten digits; 60,000 + 10,000 samples, 10 classes"),
    "fashion_mnist": ("idx", "28 x 28 pictures of clothing; 60,000 + 10,000 samples, 10 classes"),
    "cifar10": ("cifar10", "32 x 32 x 3 colour pictures; 50,000 + 10,000 samples, 10 classes"),
    "npz": ("npz", "your own arrays in a NumPy .npz file"),
    "csv": ("tables", "your own table in a CSV file"),
    "parquet": ("tables", "your own table in a Parquet file"),
    "none": ("", "no data, for the analytic models"),
}
NAMES = tuple(_DATASETS)


def describe() -> dict[str, str]:
    """Every data set's name and a line on what it is."""
    return {name: description for name, (_, description) in _DATASETS.items()}


def load(settings: Mapping[str, Any]) -> Dataset | None:
    """The data set that the settings (the group `dataset` of a configuration) name; None for `none`.

    Raises:
        DataError: a setting makes no sense, or a file is missing or damaged.
    """
    if problems := check_settings(settings):
        raise DataError(problems)
    module, _ = _DATASETS[settings["name"]]
    return import_module(f"distopt.datasets.{module}").load(settings) if module else None


def found() -> dict[str, str | None]:
    """Where on this machine each data set that has a fixed home lies; None if it would have to be downloaded."""
    from distopt.datasets import cifar10, idx, sources

    places: dict[str, str | None] = {"digits": "scikit-learn"}
    for name in sources.SOURCES:
        pick = cifar10.pick if name == "cifar10" else idx.pick
        places[name] = next((str(folder) for folder in sources.folders(name, None) if pick(folder)), None)
    return places
