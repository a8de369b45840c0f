"""Data sets by name: samples in memory, divided among the workers and drawn in a fixed order."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from distopt.datasets.dataset import Dataset
from distopt.datasets.settings import check_settings
from distopt.errors import DataError
from distopt.records import Kind

__all__ = ["NAMES", "SIZES", "Dataset", "Size", "check_settings", "found", "load", "size"]

# name -> module with the loader
_LOADERS = {
    "digits": "digits",
    "mnist": "idx",
    "fashion_mnist": "idx",
    "cifar10": "cifar10",
    "npz": "npz",
    "csv": "tables",
    "parquet": "tables",
    "svmlight": "svmlight",
    "ratings": "ratings",
    "arrow": "tables",
    "tokens": "tokens",
    "text": "text",
    "pydoc": "text",
    "austen": "austen",
    "object": "objects",
    "none": None,
}
NAMES = tuple(_LOADERS)


def load(settings: Mapping[str, Any]) -> Dataset | None:
    """Return the data set of the configuration group `dataset`; None for `none`.

    Raises:
        DataError: invalid settings, or a file that is missing or damaged.
    """
    if problems := check_settings(settings):
        raise DataError(problems)
    module = _LOADERS[settings["name"]]
    data: Dataset | None = import_module(f"distopt.datasets.{module}").load(settings) if module else None
    if data is None or settings.get("whiten") is None:
        return data
    from distopt.datasets.whitening import whitened

    return whitened(data, settings["whiten"])


class Size(NamedTuple):
    """What is known of a data set without its files."""

    samples: int  # of the training set
    shape: tuple[int, ...]  # of one sample
    classes: int
    kind: Kind = "classes"
    sparse: bool = False


SIZES = {
    "digits": Size(1438, (8, 8), 10),
    "mnist": Size(60_000, (28, 28), 10),
    "fashion_mnist": Size(60_000, (28, 28), 10),
    "cifar10": Size(50_000, (32, 32, 3), 10),
}


def size(settings: Mapping[str, Any]) -> Size | None:
    """Return the size of a data set, from its name if that is enough, else from its files; None for `none`.

    Raises:
        DataError: as `load`.
    """
    if settings["name"] in SIZES and settings.get("validation_fraction", 0.2) == 0.2:
        return SIZES[settings["name"]]
    data = load(settings)
    return Size(data.size, data.shape, data.classes, data.kind, data.sparse) if data else None


def found() -> dict[str, str | None]:
    """Return the place of each known data set on this machine; None if it would have to be downloaded."""
    from distopt.datasets import austen, cifar10, idx, sources

    places: dict[str, str | None] = {"digits": "scikit-learn"}
    for name in sources.SOURCES:
        pick: Callable[[Path], Any] = {"cifar10": cifar10.pick, "austen": austen.pick}.get(name, idx.pick)
        places[name] = next((str(folder) for folder in sources.folders(name, None) if pick(folder)), None)
    return places
