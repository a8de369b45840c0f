"""The user's own objects: anything with a length and samples by number, made by a factory in each process."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from distopt import plugins
from distopt.datasets.dataset import Dataset
from distopt.datasets.own import Part, assemble, finite
from distopt.errors import DataError
from distopt.files import digest
from distopt.files.untrusted import need, reason
from distopt.settings import MOST

TOGETHER = 1024  # samples that are asked for at once
PAIR = ("x", "y")


def load(settings: Mapping[str, Any]) -> Dataset:
    """Stack the samples of the object that `factory(**arguments)` makes.

    A sample is `(x, y)` or `{"x": x, "y": y}`, with numbers x of one shape and a class or a number y; or with
    `kind=tokens` an array of T + 1 tokens. An object that has `__getitems__` is asked for many samples at once.

    Raises:
        DataError: the factory or the object fails, or samples do not fit each other; the message names the first.
    """
    keys = [key for key in ("factory", "validation_factory") if settings.get(key)]
    if settings.get("kind") == "tokens":
        data = _blocks(settings, [_tokens(settings, key) for key in keys])
    else:
        train, validation = ([_pairs(settings, key) for key in keys] + [None])[:2]
        assert train is not None
        data = assemble({**settings, "file": settings["factory"]}, train, validation)
        shape = "x".join(map(str, data.shape))
        data = data._replace(told=(f"{settings['factory']}: {len(train[1]):,} samples of {shape} numbers", *data.told))
    return data._replace(content=digest.of_arrays([*data.train, *data.validation]))


def _pairs(settings: Mapping[str, Any], key: str) -> Part:
    """Return features, float32 of shape (N, *shape), and raw labels, shape (N,)."""
    where, x = f"dataset.{key}={settings[key]}", np.empty(0)
    labels: list[Any] = []
    for i, size, sample in _samples(settings, key):
        pair = [sample[name] for name in PAIR if name in sample] if isinstance(sample, Mapping) else sample
        if not isinstance(pair, Sequence) or len(pair) != len(PAIR):
            raise DataError(f"{where}: sample {i} is {_what(sample)}; return (x, y), or a mapping with x and y")
        values = np.atleast_1d(_array(pair[0], f"{where}: x of sample {i}", "fiub"))
        if i == 0:
            x = _room((size, *values.shape), np.float32, where)
        if values.shape != x.shape[1:]:
            raise DataError(f"{where}: x of sample {i} has the shape {values.shape}, that of sample 0 {x.shape[1:]}")
        x[i] = values
        label = _array(pair[1], f"{where}: y of sample {i}", "fiubU")
        if label.size != 1:
            raise DataError(f"{where}: y of sample {i} is {_what(label)}; return one class or number")
        if i and isinstance(label.item(), str) != isinstance(labels[0], str):
            raise DataError(
                f"{where}: y of sample {i} is {label.item()!r}, that of sample 0 {labels[0]!r}; text or not"
            )
        labels.append(label.item())
    return finite(x, settings[key], "x: a value"), np.array(labels)


def _tokens(settings: Mapping[str, Any], key: str) -> np.ndarray:
    """Return blocks of tokens, shape (N, T + 1)."""
    where, blocks = f"dataset.{key}={settings[key]}", np.empty(0, np.int32)
    for i, size, sample in _samples(settings, key):
        values = _array(sample, f"{where}: sample {i}", "iu")
        if i == 0:
            blocks = _room((size, *values.shape), values.dtype if values.itemsize < 4 else np.int32, where)
        if values.shape != blocks.shape[1:] or values.ndim != 1 or len(values) < 2:
            raise DataError(
                f"{where}: sample {i} has the shape {values.shape}, that of sample 0 {blocks.shape[1:]}; return the "
                "same number of tokens each time, at least 2"
            )
        most = min(int(np.iinfo(blocks.dtype).max), MOST - 1)
        if values.min() < 0 or values.max() > most:
            raise DataError(
                f"{where}: sample {i} holds the tokens {values.min()} to {values.max()}; return 0 to {most} of the "
                f"type of sample 0, {blocks.dtype}"
            )
        blocks[i] = values
    return blocks


def _blocks(settings: Mapping[str, Any], parts: list[np.ndarray]) -> Dataset:
    """Make a data set of blocks; without others to validate on the last ones are held out."""
    factory, fraction = settings["factory"], settings["validation_fraction"]
    largest = max(int(part.max()) for part in parts)
    vocabulary = settings.get("vocabulary") or largest + 1
    if largest >= vocabulary:
        raise DataError(f"dataset.factory={factory}: holds the token {largest}, beyond dataset.vocabulary={vocabulary}")
    train = parts[0]
    how = f"{len(parts[-1]):,} to validate on, of dataset.validation_factory"
    if len(parts) == 1:
        held_out = int(len(train) * fraction)
        if not 0 < held_out < len(train):
            raise DataError(
                f"dataset.validation_fraction={fraction:g}: leaves no sample in one of the parts, {factory} holds "
                f"{len(train)}"
            )
        parts = np.split(train, [len(train) - held_out])
        how = f"the last {held_out:,} to validate on"
    elif parts[1].shape[1:] != train.shape[1:]:
        raise DataError(f"{factory}: training samples of shape {train.shape[1:]}, validation of {parts[1].shape[1:]}")
    context = train.shape[1] - 1
    told = f"{factory}: tokens 0 to {largest}; {len(parts[0]):,} blocks of {context} tokens to train on, {how}"
    return Dataset("object", (parts[0],), (parts[1],), (context,), vocabulary, kind="tokens", told=(told,))


def _samples(settings: Mapping[str, Any], key: str) -> Iterator[tuple[int, int, Any]]:
    """Yield each sample with its number, and how many there are."""
    where, name = f"dataset.{key}={settings[key]}", settings[key]
    make = plugins.find("datasets", name, f"dataset.{key}")
    if make is None:
        raise DataError(f"{where}: no such factory; name it as module:factory, or by an entry point distopt.datasets")
    source = _asked(f"{where}: cannot be made", make, **(settings.get("arguments") or {}))
    size = _asked(f"{where}: has no length", len, source)
    if not size:
        raise DataError(f"{where}: holds no samples")
    many = getattr(source, "__getitems__", None) or (lambda numbers: [source[i] for i in numbers])
    for first in range(0, size, TOGETHER):
        numbers = list(range(first, min(first + TOGETHER, size)))
        told = f"{where}: samples {first} to {numbers[-1]} cannot be read"
        found = _asked(told, lambda numbers=numbers: list(many(numbers)))
        if len(found) != len(numbers):
            raise DataError(f"{told} (asked for {len(numbers)}, __getitems__ returned {len(found)})")
        for i, sample in zip(numbers, found, strict=True):
            yield i, size, sample


def _asked(told: str, function: Any, *arguments: Any, **more: Any) -> Any:
    """Call what somebody else wrote, which may fail in any way."""
    try:
        return function(*arguments, **more)
    except Exception as error:
        raise DataError(f"{told} ({type(error).__name__}: {reason(error)})") from error


def _array(value: Any, what: str, kinds: str) -> np.ndarray:
    found: np.ndarray = _asked(f"{what} is no array", np.asarray, value)
    if found.dtype.kind not in kinds:
        raise DataError(f"{what} is {_what(value)}; return numbers{' or text' * ('U' in kinds)}")
    return found


def _room(shape: tuple[int, ...], dtype: Any, where: str) -> np.ndarray:
    try:
        need(int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize, f"an array of {shape[0]:,} samples")
        return np.empty(shape, dtype)
    except MemoryError as error:
        raise DataError(f"{where}: {error}") from error


def _what(value: Any) -> str:
    """Return in a few words what somebody returned."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    held = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"a {type(value).__name__}{held}"
