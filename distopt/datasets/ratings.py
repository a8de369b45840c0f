"""The user's own ratings: a table with a user, an item and a number in each row."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distopt.datasets.dataset import Dataset, stratified, take
from distopt.datasets.frames import read
from distopt.datasets.own import VALIDATION_FRACTION, finite
from distopt.datasets.settings import rating_columns
from distopt.errors import DataError, listed
from distopt.files.untrusted import need, reason
from distopt.records import Kind

if TYPE_CHECKING:
    import pandas as pd

Pairs = tuple[np.ndarray, ...]  # users, items and perhaps ratings, of one shape


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load ratings; users and items become 0, 1, … in the order in which they come.

    The mean of the training part is subtracted, which leaves errors as they are. With `kind=ranking` a sample is a user
    with the items that the user has, however they are rated. Without a validation file a share of each user's ratings
    is held out at random, never all of them. Shards may differ by user.

    Raises:
        DataError: a file is missing, damaged or empty or lacks a column, a value is missing or no number, all ratings
            are the same, or a user has all items, of which none is left to rank below others.
    """
    import pandas as pd

    ranking, names = settings.get("kind") == "ranking", rating_columns(settings)
    keys = [key for key in ("file", "validation_file") if settings.get(key)]
    tables = [_table(settings, key, names) for key in keys]
    for name in names[:2]:
        if len({table[name].dtype.kind for table in tables}) > 1:  # such as text and whole numbers
            tables = [table.assign(**{name: table[name].astype(str)}) for table in tables]
    table = pd.concat(tables, ignore_index=True)
    # To rank, a pair counts once: in the training part, if it is there.
    whole = table.drop_duplicates(list(names)) if ranking else table
    (user, users), (item, items) = (pd.factorize(whole[name]) for name in names[:2])
    samples = user.astype(np.int32), item.astype(np.int32), *(whole[name].to_numpy(np.float64) for name in names[2:])
    if len(tables) > 1:
        rows = np.split(np.arange(len(whole)), [int((whole.index < len(tables[0])).sum())])
        how = "of dataset.validation_file"
        if not len(rows[1]):
            raise DataError(f"dataset.validation_file={settings['validation_file']}: has only pairs of dataset.file")
    else:
        fraction = float(settings.get("validation_fraction", VALIDATION_FRACTION))
        rows = list(stratified(user, fraction))
        how = f"of each user by dataset.validation_fraction={fraction:g}, the same for every seed"
        if not len(rows[1]):
            raise DataError(
                f"dataset.validation_fraction={fraction:g}: holds out no rating, as users of {settings['file']} have "
                f"{len(whole) / len(users):.1f} on average"
            )
    train, validation = (take(samples, part) for part in rows)
    warnings = _warnings(table, train, validation)
    shape = len(users), len(items)
    if ranking:
        full = np.flatnonzero(np.bincount(user) == len(items))
        if len(full):
            raise DataError(
                f"dataset.user={settings.get('user', 'user')}: {users[full[0]]} has all {len(items):,} items of "
                f"{settings['file']}, and none is left to rank below them; leave this user out"
            )
        parts, words = _of_users(train, validation, shape, settings["file"]), "a sample is a user"
    else:
        parts, mean = _centred(train, validation, settings.get("rating", "rating"))
        words = f"from {whole['rating'].min():g} to {whole['rating'].max():g}; the mean {mean:.4g} is subtracted"
    told = (
        f"{settings['file']}: {len(whole):,} ratings of {len(items):,} items by {len(users):,} users, {words}",
        f"{len(train[0]):,} ratings to train on, {len(validation[0]):,} to validate on, {how}",
    )
    kind: Kind = "ranking" if ranking else "ratings"
    return Dataset(settings["name"], parts[0], parts[1], shape, 1, kind, parts[0][0], told, warnings)


def _centred(train: Pairs, validation: Pairs, column: str) -> tuple[list[Pairs], float]:
    """Return both parts with ratings from which the mean of the training part is subtracted, and this mean."""
    mean = train[2].mean()
    if train[2].min() == train[2].max():
        raise DataError(f"dataset.rating={column}: all ratings are {mean:g}")
    return [(u, i, (r - mean).astype(np.float32)) for u, i, r in (train, validation)], float(mean)


def _of_users(train: Pairs, validation: Pairs, shape: tuple[int, int], file: str) -> list[Pairs]:
    """Return both parts with a row for each user: the user, items to rank high, and items to leave out.

    The training part leaves none out, the validation part those of the training part.
    """
    counts = [np.bincount(pairs[0], minlength=shape[0]) for pairs in (train, validation)]
    longest = [int(count.max()) for count in counts]
    try:
        room = np.dtype(np.int32).itemsize * shape[0] * sum(longest)
        need(3 * room, f"{file}, a row for each user,")  # twice more where parts and what is left out are made of them
    except MemoryError as error:
        raise DataError(f"dataset.file={file}: cannot be ranked ({reason(error)})") from error
    lists = [np.full((shape[0], most), shape[1], np.int32) for most in longest]
    for padded, count, (user, item) in zip(lists, counts, (train, validation), strict=True):
        padded[np.arange(padded.shape[1]) < count[:, None]] = item[np.argsort(user, kind="stable")]
    learnt, held = lists
    some, others = (np.flatnonzero(count).astype(np.int32) for count in counts)
    return [(some, learnt[some], np.empty((len(some), 0), np.int32)), (others, held[others], learnt[others])]


def _table(settings: Mapping[str, Any], key: str, names: tuple[str, ...]) -> "pd.DataFrame":
    """Return the columns `user`, `item` and perhaps `rating` of a file."""
    file = settings[key]
    packed = Path(file).suffix == ".parquet"
    frame = read({**settings, "name": "parquet" if packed else "csv", "index_col": False}, key).table
    found = {}
    for name in names:
        column = settings.get(name, name)
        at = list(frame.columns).index(column) if column in frame.columns else column
        if not isinstance(at, int) or at >= frame.shape[1]:
            raise DataError(f"dataset.{name}={column}: no such column in {file}, it has {listed(frame.columns)}")
        found[name] = frame.iloc[:, at]
        if missing := int(found[name].isna().sum()):
            raise DataError(f"dataset.{name}={column}: missing in {missing} rows of {file}; remove them")
    import pandas as pd

    if "rating" not in found:
        return pd.DataFrame(found)
    if found["rating"].dtype.kind not in "fiub":
        column = settings.get("rating", "rating")
        raise DataError(f"dataset.rating={column}: is text such as {str(found['rating'].iloc[0])!r} in {file}")
    finite(found["rating"].to_numpy(np.float64), file, "a rating")
    return pd.DataFrame(found)


def _warnings(whole: "pd.DataFrame", train: Pairs, validation: Pairs) -> tuple[str, ...]:
    """Return what looks wrong: pairs that are there twice, and users or items that training never sees."""
    found = []
    if twice := int(whole.duplicated(["user", "item"]).sum()):
        found.append(f"dataset.file: {twice:,} ratings are of a pair of user and item that has one already")
    for what, seen, met in zip(("user", "item"), train, validation, strict=False):
        if unseen := len(np.setdiff1d(met, seen)):
            found.append(f"dataset.{what}: {unseen:,} have ratings to validate on alone, and no factors to learn")
    return tuple(found)
