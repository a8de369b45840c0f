"""Common steps for the user's own files: labels become classes, a part is held out, values are checked."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from distopt.datasets.dataset import Dataset, length, scattered, stratified, take
from distopt.datasets.mapped import chunks
from distopt.errors import DataError

VALIDATION_FRACTION = 0.2
NAMED = 8  # classes that are told by name
FEW, SMALL = 20, 10  # more classes than the first, with fewer samples each than the second, are a doubtful label
Part = tuple[Any, np.ndarray]  # features, which may be a tuple of arrays, and labels


def assemble(
    settings: Mapping[str, Any],
    train: Part,
    validation: Part | None,
    shape: tuple[int, ...] | None = None,
    names: Sequence[Any] = (),
    key: np.ndarray | None = None,
) -> Dataset:
    """Make a data set of the features and raw labels of a training and a validation part.

    Labels (integers, strings, truth values) become 0 .. classes - 1 in sorted order, over both parts. Without a
    validation part a stratified `validation_fraction` of the training part is held out. Shards may differ by `key`, a
    whole number or text per sample of the training part, or else by class.

    Args:
        settings: of the data set.
        train: features and labels.
        validation: the same, if there is such a part.
        shape: of one sample, if the features are no single array.
        names: of the labels, if there are several per sample.

    Raises:
        DataError: a part is empty, there is only one class or almost one per sample, or the parts do not fit each
            other.
    """
    file = settings["file"]
    parts = [train] if validation is None else [train, validation]
    for x, y in parts:
        if not len(y):
            raise DataError(f"{file}: holds no samples")
        if length((x,)) != len(y):
            raise DataError(f"{file}: {length((x,))} samples, but {len(y)} labels")
        if shape is None and x.shape[1:] != train[0].shape[1:]:
            raise DataError(f"{file}: training samples of shape {train[0].shape[1:]}, validation of {x.shape[1:]}")
    shape, kind = train[0].shape[1:] if shape is None else shape, settings.get("kind", "classes")
    keys = None if key is None else _codes(settings, key, len(train[1]))
    if kind == "numbers":
        found, kept = _numbers(settings, parts, shape)
    elif kind == "labels":
        found, kept = _labels(settings, parts, shape, names)
    else:
        found, kept = _classified(settings, parts, shape)
    if keys is None:
        return found
    told = f"dataset.key={settings['key']}: {keys.max() + 1} different values, by which shards may differ"
    return found._replace(keys=keys[kept], told=(*found.told, told))


def _classified(settings: Mapping[str, Any], parts: Sequence[Part], shape: tuple[int, ...]) -> tuple[Dataset, Any]:
    """Make a data set with a class per sample, and say which rows of the first part it trains on."""
    names, labels = _classes(settings, [y for _, y in parts])
    coded = [(x, y) for (x, _), y in zip(parts, labels, strict=True)]
    train, validation, kept, told = _divided(settings, coded, stratified)
    counts = [np.bincount(y, minlength=len(names)) for _, y in (train, validation)]
    told = f"{_label(settings)}: {len(names)} classes: {_counted(names, counts[0] + counts[1])}; {told}"
    warnings = tuple(_warnings(settings, names, *counts))
    found = Dataset(settings["name"], train, validation, shape, len(names), keys=train[1])
    return found._replace(told=(told,), warnings=warnings), kept


def _labels(
    settings: Mapping[str, Any], parts: Sequence[Part], shape: tuple[int, ...], names: Sequence[Any]
) -> tuple[Dataset, Any]:
    """Make a data set with labels of which any number may hold, and say which rows of the first part it trains on.

    Shards may differ by which labels hold together.
    """
    where, coded = _label(settings), []
    for x, y in parts:
        y = y[:, None] if y.ndim == 1 else y
        odd = ~np.isin(y, (0, 1)) if y.dtype.kind in "fiub" else np.ones(y.shape, bool)
        if odd.any():
            which = f"column {names[int(odd.any(axis=0).argmax())]} " if len(names) > 1 else ""
            raise DataError(f"{where}: {which}has {_word(y[odd][0])}, and dataset.kind=labels needs columns of 0 and 1")
        coded.append((x, y.astype(np.int8)))
    columns = {y.shape[1] for _, y in coded}
    if len(columns) > 1 or not all(columns):
        raise DataError(f"{where}: {' and '.join(map(str, sorted(columns)))} labels per sample")
    (count,) = columns
    named = np.array(names if len(names) else range(count), object)
    train, validation, kept, told = _divided(settings, coded, lambda y, fraction: stratified(_together(y), fraction))
    positives = [y.sum(axis=0, dtype=int) for _, y in (train, validation)]
    told = f"{where}: {count} label{'s' * (count > 1)}: {_counted(named, positives[0] + positives[1])}; {told}"
    if not set(positives[0]) - {0, len(train[1])}:
        raise DataError(f"{where}: the same in all samples to train on; there is nothing to predict")
    warnings = []
    for held, (_, y), what in zip(positives, (train, validation), ("train on", "validate on"), strict=True):
        if (same := (held == 0) | (held == len(y))).any():
            warnings.append(f"{where}: the same in all samples to {what}: {_few(map(_word, named[same]))}")
    keys = _together(train[1])
    found = Dataset(settings["name"], train, validation, shape, count, "labels", keys)
    return found._replace(told=(told,), warnings=tuple(warnings)), kept


def _together(y: np.ndarray) -> np.ndarray:
    """Return a number for each combination of labels; those that occur once share a number."""
    _, codes, counts = np.unique(y, axis=0, return_inverse=True, return_counts=True)
    codes = codes.reshape(-1)
    return np.where(counts[codes] > 1, codes, len(counts))


def _divided(
    settings: Mapping[str, Any],
    parts: Sequence[Part],
    split: Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]],
) -> tuple[Part, Part, Any, str]:
    """Return a training and a validation part, which rows are the first, and in words where the second comes from.

    Raises:
        DataError: nothing would be left in a part.
    """
    fraction = float(settings.get("validation_fraction", VALIDATION_FRACTION))
    if len(parts) > 1:
        train, validation = parts
        kept: Any = slice(None)
        others = ("validation_file", "validation_factory", "validation_x")
        how = f"of dataset.{next(key for key in others if settings.get(key))}"
    else:
        y = parts[0][1]
        kept, held_out = split(y, fraction)
        if not len(held_out) or not len(kept):
            raise DataError(
                f"dataset.validation_fraction={fraction:g}: leaves no sample in one of the parts, {settings['file']} "
                f"holds {len(y)}"
            )
        train, validation = take(parts[0], kept), take(parts[0], held_out)
        how = f"held out by dataset.validation_fraction={fraction:g}, the same for every seed"
    sizes = len(train[1]), len(validation[1])
    return train, validation, kept, f"{sizes[0]:,} samples to train on, {sizes[1]:,} to validate on, {how}"


def _numbers(settings: Mapping[str, Any], parts: Sequence[Part], shape: tuple[int, ...]) -> tuple[Dataset, Any]:
    """Make a data set with numbers to predict, scaled as the training part is, and say which rows that is."""
    for _, y in parts:
        if y.dtype.kind not in "fiu":
            raise DataError(
                f"{_label(settings)}: is text such as {str(y[0])!r}, and dataset.kind=numbers needs numbers; choose "
                "another label, or say with dataset.decimal how they are written"
            )
        if not np.isfinite(y.astype(np.float64)).all():
            raise DataError(f"{_label(settings)}: is missing or infinite in some samples; remove or fill them")
    double = [(x, y.astype(np.float64)) for x, y in parts]
    (train_x, train_y), (validation_x, validation_y), kept, told = _divided(settings, double, scattered)
    mean, spread = train_y.mean(), train_y.std()
    if train_y.min() == train_y.max():
        raise DataError(f"{_label(settings)}: all values are {mean:g}; there is nothing to predict")
    train_y, validation_y = (((y - mean) / spread).astype(np.float32) for y in (train_y, validation_y))
    scaled = f"numbers of mean {mean:.6g} and standard deviation {spread:.6g}, scaled to 0 and 1"
    told = f"{_label(settings)}: {scaled}; {told}"
    parts = (train_x, train_y), (validation_x, validation_y)
    return Dataset(settings["name"], *parts, shape, 1, kind="numbers", told=(told,)), kept


def _codes(settings: Mapping[str, Any], key: np.ndarray, samples: int) -> np.ndarray:
    """Return whole numbers 0, 1, … for the values by which shards may differ, in sorted order."""
    where = f"dataset.key={settings['key']}"
    if key.shape != (samples,):
        raise DataError(f"{where}: has the shape {key.shape}, for {samples} samples in {settings['file']}")
    if key.dtype.kind == "f" and not (np.isfinite(key).all() and np.array_equal(key, np.floor(key))):
        raise DataError(f"{where}: a value is missing or no whole number in {settings['file']}; fill or round it")
    if key.dtype.kind not in "fiubU":
        raise DataError(f"{where}: is {key.dtype} in {settings['file']}; choose whole numbers or text")
    return np.unique(key, return_inverse=True)[1].astype(np.int32)


def _label(settings: Mapping[str, Any]) -> str:
    """Return the setting that names the labels, with its value."""
    if settings["name"] == "svmlight":
        return f"labels of {settings['file']}"
    if settings["name"] == "object":
        return f"dataset.factory={settings['factory']}"
    key = "train_y" if settings["name"] == "npz" else "label"
    value = settings.get(key, key)
    return f"dataset.{key}={value}" if isinstance(value, str) else f"dataset.{key}=[{','.join(value)}]"


def _classes(settings: Mapping[str, Any], labels: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the sorted distinct labels, and each part's labels as int32 places in that list."""
    file = settings["file"]
    if len({y.dtype.kind == "U" for y in labels}) > 1:
        raise DataError(f"{file}: labels are numbers in one part and text in the other")
    raw = np.concatenate(labels)
    if raw.dtype.kind == "f" and not (np.isfinite(raw).all() and np.array_equal(raw, np.floor(raw))):
        raise DataError(f"{file}: a label is missing or no whole number; classes are integers or strings")
    names, codes = np.unique(raw, return_inverse=True)
    if len(names) < 2:
        raise DataError(f"{file}: all labels are {names[0]}; at least two classes are needed")
    if len(names) > SMALL and 2 * len(names) > len(raw):
        raise DataError(
            f"{_label(settings)}: {len(names)} different values in {len(raw)} samples of {file}; "
            "choose another label, as a class needs several samples, or dataset.kind=numbers"
        )
    found = np.split(codes.astype(np.int32), np.cumsum([len(y) for y in labels])[:-1])
    if unseen := [names[i] for i in np.setdiff1d(found[-1], found[0])]:
        raise DataError(
            f"{_label(settings)}: {_word(unseen[0])} is a class of the validation part alone, which training never "
            "sees; move some of its samples, or leave it out"
        )
    return names, found


def _counted(names: np.ndarray, counts: np.ndarray) -> str:
    """Return the first classes in words, each with its number of samples."""
    words = [f"{_word(name)} ({count:,})" for name, count in zip(names[:NAMED], counts, strict=False)]
    more = len(names) - NAMED
    rest = f" and {more} more ({counts[NAMED:].min():,} to {counts[NAMED:].max():,} each)" if more > 0 else ""
    return ", ".join(words) + rest


def _word(name: Any) -> str:
    return f"{name:g}" if isinstance(name, float) and abs(name) < 1e6 else str(name)


def _warnings(settings: Mapping[str, Any], names: np.ndarray, train: np.ndarray, validation: np.ndarray) -> list[str]:
    """Return what looks wrong about the classes."""
    label, found = _label(settings), []
    total = int((train + validation).sum())
    if len(names) > FEW and total < SMALL * len(names):
        found.append(
            f"{label}: {len(names)} classes in {total:,} samples; is it a number to predict, or an identifier?"
        )
    if (validation == 0).any():
        absent = _few([_word(name) for name in names[validation == 0]])
        found.append(f"{label}: no sample to validate on for {absent}")
    if names.dtype.kind == "U":
        alike = Counter(" ".join(name.split()).casefold() for name in names.tolist())
        if same := [name for name in names.tolist() if alike[" ".join(name.split()).casefold()] > 1]:
            found.append(
                f"{label}: {_few(map(repr, same))} differ only in case or spaces, and are classes of their own"
            )
    return found


def _few(names: Any) -> str:
    words: Sequence[str] = list(names)
    more = len(words) - NAMED
    return ", ".join(words[:NAMED]) + (f" and {more} more" if more > 0 else "")


def finite(values: Any, file: str, what: str) -> Any:
    """Return values, of which none is missing or beyond float32.

    Raises:
        DataError: a value is missing (NaN), infinite or too large for float32; the message names the first sample.
    """
    count, where = 0, 0
    for first, some in chunks(values):
        with np.errstate(over="ignore"):
            single = np.asarray(some, dtype=np.float32)
        bad = ~np.isfinite(single).all(axis=tuple(range(1, single.ndim)))
        where = where if count or not bad.any() else first + int(bad.argmax())
        count += int(bad.sum())
    if count:
        raise DataError(
            f"{file}: {what} is missing or not finite in {count} samples, first in sample {where} (counted from 0); "
            "remove or fill them"
        )
    return values
