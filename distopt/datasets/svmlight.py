"""Sparse features in the format of SVMlight and LIBSVM: a line `label index:value index:value ...` per sample."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distopt.datasets.dataset import Dataset
from distopt.datasets.own import assemble
from distopt.errors import DataError
from distopt.files.untrusted import BROKEN, in_words, need, reason, regular, unpacked

ROOM, LINE_ROOM = 12, 150  # most bytes of memory per byte and per line of text, measured with single digits and labels
PADDED = 8  # bytes of an index and a value
UNEVEN = 8  # a longest sample that is this many times as long as half of them is told


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load one or two files; features stay sparse, as pairs (index, value) padded to the longest sample.

    Indices start at 0 or 1; `zero_based=auto` takes 1 if no file has the index 0. There are `features` of them, or as
    many as the highest index says. With `kind=labels` a line begins with any number of labels, `a,b,c`.

    Raises:
        DataError: a file is missing, damaged or empty, does not fit into memory, or has values that are not finite or
            more features than `features`.
    """
    keys = [key for key in ("file", "validation_file") if settings.get(key)]
    contents = [_content(settings, key) for key in keys]
    matrices, labels = _parsed(contents, settings, keys)
    for key, matrix in zip(keys, matrices, strict=True):
        _check(matrix, settings, key)
    size = settings.get("features") or matrices[0].shape[1]
    counts = [np.diff(matrix.indptr) for matrix in matrices]
    longest = max(1, *(int(count.max()) for count in counts))
    room = PADDED * longest * sum(map(len, counts))
    try:
        need(
            2 * room, f"{settings['file']}, every sample padded to {longest:,} values,"
        )  # once more when it is divided
    except MemoryError as error:
        raise DataError(f"dataset.file={settings['file']}: cannot be read as svmlight ({reason(error)})") from error
    names: Sequence[str] = ()
    if settings.get("kind") == "labels":
        names, labels = _indicators(labels)
    train, *others = [(_padded(matrix, longest, size), y) for matrix, y in zip(matrices, labels, strict=True)]
    dataset = assemble(settings, train, others[0] if others else None, (size,), names)
    middle = int(np.median(np.concatenate(counts)))
    lengths = f"half of them have at most {middle:,} values, the longest has {longest:,}"
    told = f"{settings['file']}: {len(counts[0]):,} samples of {size:,} features; {lengths}"
    warnings = dataset.warnings
    if longest > UNEVEN * max(1, middle):
        warnings = (f"dataset.file: {lengths}; all are padded to the longest, to {in_words(room)}", *warnings)
    return dataset._replace(told=(told, *dataset.told), warnings=warnings)


def _content(settings: Mapping[str, Any], key: str) -> bytes:
    try:
        path = regular(settings[key])
        with unpacked(path, ROOM) as file:
            content: bytes = file.read()
        need(LINE_ROOM * content.count(b"\n"), path.name)
        return content
    except FileNotFoundError as error:
        raise DataError(f"dataset.{key}={settings[key]}: no such file") from error
    except BROKEN as error:
        raise DataError(f"dataset.{key}={settings[key]}: cannot be read as svmlight ({reason(error)})") from error


def _parsed(contents: list[bytes], settings: Mapping[str, Any], keys: list[str]) -> tuple[list[Any], list[Any]]:
    """Return a matrix in compressed rows and the labels of each file.

    Raises:
        DataError: a line is damaged; the message has its number.
    """
    try:
        found = _parse(contents, settings)
    except BROKEN:
        for key, content in zip(keys, contents, strict=True):
            _refuse(content, settings, key)
        raise
    return found[::2], found[1::2]


def _parse(contents: list[bytes], settings: Mapping[str, Any]) -> list[Any]:
    from sklearn.datasets import load_svmlight_files

    found: list[Any] = load_svmlight_files(
        [io.BytesIO(content) for content in contents],
        dtype=np.float32,
        multilabel=settings.get("kind") == "labels",
        zero_based=settings.get("zero_based", "auto"),
    )
    return found


def _refuse(content: bytes, settings: Mapping[str, Any], key: str) -> None:
    """Raise DataError if a file cannot be read, for its first line that cannot, which is found by halving."""
    lines = content.split(b"\n")

    def wrong(some: list[bytes]) -> str | None:
        try:
            _parse([b"\n".join(some)], settings)
        except BROKEN as error:
            return reason(error)
        return None

    if wrong(lines) is None:
        return
    first, last = 0, len(lines)  # the line is one of these
    while last - first > 1:
        middle = (first + last) // 2
        first, last = (first, middle) if wrong(lines[first:middle]) else (middle, last)
    why = wrong(lines[first:last])
    way = (
        "; set dataset.zero_based=auto" if settings.get("zero_based") is False and "Invalid index 0" in f"{why}" else ""
    )
    raise DataError(
        f"dataset.{key}={settings[key]}: line {first + 1} is not `label index:value index:value ...` ({why}){way}"
    )


def _check(matrix: Any, settings: Mapping[str, Any], key: str) -> None:
    """Refuse a file without samples, with values that are not finite, or with too many features."""
    where = f"dataset.{key}={settings[key]}"
    if not matrix.shape[0]:
        raise DataError(f"{where}: holds no samples")
    bad = np.flatnonzero(~np.isfinite(matrix.data))
    if len(bad):
        rows = np.unique(np.searchsorted(matrix.indptr, bad, side="right")) - 1
        raise DataError(
            f"{where}: a value is missing or not finite in {len(rows)} samples, first in sample {rows[0]} (counted "
            "from 0); leave it out, which makes it 0, or fill it"
        )
    most, size = int(matrix.indices.max(initial=-1)) + 1, settings.get("features")
    if size and most > size:
        raise DataError(f"dataset.features={size}: {settings[key]} has {most} features")


def _padded(matrix: Any, longest: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the index and value of each entry, rows padded to one length with the index `size` and the value 0."""
    index = np.full((matrix.shape[0], longest), size, np.int32)
    value = np.zeros(index.shape, np.float32)
    there = np.arange(longest) < np.diff(matrix.indptr)[:, None]
    index[there], value[there] = matrix.indices, matrix.data
    return index, value


def _indicators(labels: list[list[tuple[float, ...]]]) -> tuple[list[str], list[np.ndarray]]:
    """Return the names of all labels, and per file which of them each sample has, 0 or 1.

    Where every sample has one of two labels, it is one label that holds or not: the greater one.
    """
    names = sorted({label for part in labels for sample in part for label in sample})
    place = {name: i for i, name in enumerate(names)}
    found = []
    for part in labels:
        y = np.zeros((len(part), len(names)), np.int8)
        rows = np.repeat(np.arange(len(part)), [len(sample) for sample in part])
        y[rows, [place[label] for sample in part for label in sample]] = 1
        found.append(y)
    if len(names) == 2 and all((y.sum(axis=1) == 1).all() for y in found):
        names, found = names[1:], [y[:, 1:] for y in found]
    return [f"{name:g}" for name in names], found
