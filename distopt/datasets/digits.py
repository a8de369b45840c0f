"""Handwritten digits, 8 x 8, shipped with scikit-learn, without a download."""

from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np

from distopt.datasets.dataset import Dataset, classified, stratified
from distopt.errors import DataError

VALIDATION_FRACTION = 0.2  # unless the settings have another one


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load the 1,797 digits as (8, 8) float32 in [0, 1], with a fixed part of every class held out.

    Raises:
        DataError: `validation_fraction` is so small that nothing is held out.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998 (its test part).
    """
    x, y = _read()
    fraction = settings.get("validation_fraction", VALIDATION_FRACTION)
    train, validation = stratified(y, fraction)
    if not len(validation):
        raise DataError(f"dataset.validation_fraction={fraction:g}: leaves none of {len(y):,} samples to validate on")
    return classified("digits", (x[train], y[train]), (x[validation], y[validation]), 10)


def _read() -> tuple[np.ndarray, np.ndarray]:
    # Importing sklearn.datasets takes two seconds, reading its file a few milliseconds.
    file = Path(str(distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")))
    if file.is_file():
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
        pixels, labels = table[:, :-1], table[:, -1]
    else:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
    return (pixels.reshape(-1, 8, 8) / 16).astype(np.float32), labels.astype(np.int32)
