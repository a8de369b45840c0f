"""Common steps for the user's own files: labels become classes, a part is held out, values are checked."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distopt.datasets.dataset import Dataset, stratified
from distopt.errors import DataError

VALIDATION_FRACTION = 0.2
Part = tuple[np.ndarray, np.ndarray]


def assemble(settings: Mapping[str, Any], train: Part, validation: Part | None) -> Dataset:
    """Make a data set of the features and raw labels of a training and a validation part.

    Labels (integers, strings, truth values) become 0 .. classes - 1 in sorted order, over both parts. Without a
    validation part a stratified `validation_fraction` of the training part is held out.

    Raises:
        DataError: a part is empty, there is only one class, or the parts do not fit each other.
    """
    file = settings["file"]
    parts = [train] if validation is None else [train, validation]
    for x, y in parts:
        if not len(y):
            raise DataError(f"{file}: holds no samples")
        if len(x) != len(y):
            raise DataError(f"{file}: {len(x)} samples, but {len(y)} labels")
        if x.shape[1:] != train[0].shape[1:]:
            raise DataError(f"{file}: training samples of shape {train[0].shape[1:]}, validation of {x.shape[1:]}")
    names, labels = _classes(file, [y for _, y in parts])
    if validation is None:
        x, y = train[0], labels[0]
        kept, held_out = stratified(y, float(settings.get("validation_fraction", VALIDATION_FRACTION)))
        if not len(held_out) or not len(kept):
            raise DataError(
                f"dataset.validation_fraction={settings.get('validation_fraction', VALIDATION_FRACTION)}: "
                f"leaves no sample in one of the parts, {file} holds {len(y)}"
            )
        return Dataset(settings["name"], x[kept], y[kept], x[held_out], y[held_out], len(names))
    return Dataset(settings["name"], train[0], labels[0], parts[1][0], labels[1], len(names))


def _classes(file: str, labels: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the sorted distinct labels, and each part's labels as int32 places in that list."""
    if len({y.dtype.kind == "U" for y in labels}) > 1:
        raise DataError(f"{file}: labels are numbers in one part and text in the other")
    raw = np.concatenate(labels)
    if raw.dtype.kind == "f" and not (np.isfinite(raw).all() and np.array_equal(raw, np.floor(raw))):
        raise DataError(f"{file}: a label is missing or no whole number; classes are integers or strings")
    names, codes = np.unique(raw, return_inverse=True)
    if len(names) < 2:
        raise DataError(f"{file}: all labels are {names[0]}; at least two classes are needed")
    return names, np.split(codes.astype(np.int32), np.cumsum([len(y) for y in labels])[:-1])


def finite(values: np.ndarray, file: str, what: str) -> np.ndarray:
    """Return values as float32.

    Raises:
        DataError: a value is missing (NaN), infinite or too large for float32; the message names the first sample.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(values, dtype=np.float32)
    bad = ~np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if bad.any():
        raise DataError(
            f"{file}: {what} is missing or not finite in {bad.sum()} samples, first in sample {bad.argmax()} "
            "(counted from 0); remove or fill them"
        )
    return values
