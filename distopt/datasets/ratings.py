"""The user's own ratings: a table with a user, an item and a number in each row."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distopt.datasets.dataset import Dataset, stratified, take
from distopt.datasets.frames import read
from distopt.datasets.own import VALIDATION_FRACTION, finite
from distopt.errors import DataError, listed

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("user", "item", "rating")


def load(settings: Mapping[str, Any]) -> Dataset:
    """Load ratings; users and items become 0, 1, … in the order in which they come.

    The mean of the training part is subtracted, which leaves errors as they are. Without a validation file a share of
    each user's ratings is held out at random, never all of them. Shards may differ by user.

    Raises:
        DataError: a file is missing, damaged or empty or lacks a column, a value is missing or no number, or all
            ratings are the same.
    """
    import pandas as pd

    keys = [key for key in ("file", "validation_file") if settings.get(key)]
    tables = [_table(settings, key) for key in keys]
    sizes = [len(table) for table in tables]
    for name in COLUMNS[:2]:
        if len({table[name].dtype.kind for table in tables}) > 1:  # such as text and whole numbers
            tables = [table.assign(**{name: table[name].astype(str)}) for table in tables]
    whole = pd.concat(tables, ignore_index=True)
    (user, users), (item, items) = (pd.factorize(whole[name]) for name in COLUMNS[:2])
    ratings = whole["rating"].to_numpy(np.float64)
    samples = user.astype(np.int32), item.astype(np.int32), ratings
    if len(tables) > 1:
        rows, how = np.split(np.arange(len(whole)), sizes[:1]), "of dataset.validation_file"
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
    mean = train[2].mean()
    if train[2].min() == train[2].max():
        raise DataError(f"dataset.rating={settings.get('rating', 'rating')}: all ratings are {mean:g}")
    centred = [(u, i, (r - mean).astype(np.float32)) for u, i, r in (train, validation)]
    told = (
        f"{settings['file']}: {len(whole):,} ratings of {len(items):,} items by {len(users):,} users, from "
        f"{ratings.min():g} to {ratings.max():g}; the mean {mean:.4g} is subtracted",
        f"{len(train[0]):,} ratings to train on, {len(validation[0]):,} to validate on, {how}",
    )
    warnings = _warnings(whole, train, validation)
    shape = len(users), len(items)
    return Dataset(settings["name"], centred[0], centred[1], shape, 1, "ratings", train[0], told, warnings)


def _table(settings: Mapping[str, Any], key: str) -> "pd.DataFrame":
    """Return the columns `user`, `item` and `rating` of a file."""
    file = settings[key]
    packed = Path(file).suffix == ".parquet"
    frame = read({**settings, "name": "parquet" if packed else "csv", "index_col": False}, key).table
    found = {}
    for name in COLUMNS:
        column = settings.get(name, name)
        at = list(frame.columns).index(column) if column in frame.columns else column
        if not isinstance(at, int) or at >= frame.shape[1]:
            raise DataError(f"dataset.{name}={column}: no such column in {file}, it has {listed(frame.columns)}")
        found[name] = frame.iloc[:, at]
        if missing := int(found[name].isna().sum()):
            raise DataError(f"dataset.{name}={column}: missing in {missing} rows of {file}; remove them")
    if found["rating"].dtype.kind not in "fiub":
        column = settings.get("rating", "rating")
        raise DataError(f"dataset.rating={column}: is text such as {str(found['rating'].iloc[0])!r} in {file}")
    import pandas as pd

    finite(found["rating"].to_numpy(np.float64), file, "a rating")
    return pd.DataFrame(found)


def _warnings(whole: "pd.DataFrame", train: tuple[Any, ...], validation: tuple[Any, ...]) -> tuple[str, ...]:
    """Return what looks wrong: pairs that are there twice, and users or items that training never sees."""
    found = []
    if twice := int(whole.duplicated(["user", "item"]).sum()):
        found.append(f"dataset.file: {twice:,} ratings are of a pair of user and item that has one already")
    for what, seen, met in zip(("user", "item"), train, validation, strict=False):
        if unseen := len(np.setdiff1d(met, seen)):
            found.append(f"dataset.{what}: {unseen:,} have ratings to validate on alone, and no factors to learn")
    return tuple(found)
