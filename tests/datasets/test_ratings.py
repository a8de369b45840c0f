"""Ratings: read from several ways to write them, coded, divided by user, learnt down to their noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import distopt
from distopt import datasets, models
from distopt.errors import ConfigError, DataError
from tests.datasets.test_own import load
from tests.marks import slow

RNG = np.random.default_rng(0)
USERS, ITEMS, NOISE = 50, 40, 0.2


def frame() -> pd.DataFrame:
    """Ratings of rank two with biases and noise, of half of all pairs."""
    user, item = np.nonzero(RNG.random((USERS, ITEMS)) < 0.7)
    p, q = RNG.normal(size=(USERS, 2)), RNG.normal(size=(ITEMS, 2))
    biases = RNG.normal(size=USERS)[user] + RNG.normal(size=ITEMS)[item]
    rating = 3 + biases + (p[user] * q[item]).sum(axis=1) + NOISE * RNG.normal(size=len(user))
    return pd.DataFrame({"user": user + 100, "item": [f"film {i}" for i in item], "rating": rating, "time": 5})


FRAME = frame()


def written(path: Path, how: str) -> tuple[str, dict[str, Any]]:
    """Write the ratings in some form; return the settings that read it."""
    if how == "parquet":
        FRAME.to_parquet(path / "t.parquet")
        return str(path / "t.parquet"), {}
    if how == "csv":
        FRAME.to_csv(path / "t.csv", index=False)
        return str(path / "t.csv"), {}
    if how == "inter":
        names = {"user": "user_id:token", "item": "item_id:token", "rating": "rating:float", "time": "timestamp:float"}
        FRAME.rename(columns=names).to_csv(path / "t.inter", index=False, sep="\t")
        return str(path / "t.inter"), {"sep": "tab", "user": "user_id:token", "item": 1, "rating": "rating:float"}
    FRAME.to_csv(path / "u.data", index=False, header=False, sep="\t")
    return str(path / "u.data"), {"sep": "tab", "header": False, "user": 0, "item": 1, "rating": 2}


@pytest.mark.parametrize("how", ["csv", "parquet", "inter", "data"])
def test_ratings_are_read_however_they_are_written(tmp_path: Path, how: str) -> None:
    file, settings = written(tmp_path, how)
    found = load("ratings", file=file, **settings)
    assert (found.kind, found.shape, found.classes, found.sparse) == ("ratings", (USERS, ITEMS), 1, False)
    assert [array.dtype for array in found.train] == [np.int32, np.int32, np.float32]
    user, item, rating = (np.concatenate(arrays) for arrays in zip(found.train, found.validation, strict=True))
    assert (len(user), user.max(), item.max()) == (len(FRAME), USERS - 1, ITEMS - 1)
    assert found.train[2].mean() == pytest.approx(0, abs=1e-5)
    codes = pd.factorize(FRAME.user)[0] * ITEMS + pd.factorize(FRAME.item)[0]
    pairs = user * ITEMS + item
    np.testing.assert_array_equal(np.sort(pairs), np.sort(codes))
    shifted = FRAME.rating.to_numpy()[np.argsort(codes)] - rating[np.argsort(pairs)]
    assert np.ptp(shifted) < 1e-4
    assert datasets.size({"name": "ratings", "file": file, **settings}) == datasets.Size(
        found.size, (USERS, ITEMS), 1, "ratings"
    )


def test_a_share_of_each_user_is_held_out_and_never_all(tmp_path: Path) -> None:
    one = pd.DataFrame({"user": ["x", "y", "y"] + ["z"] * 20, "item": range(23), "rating": np.arange(23.0)})
    one.to_csv(tmp_path / "t.csv", index=False)
    found = load("ratings", file=str(tmp_path / "t.csv"), validation_fraction=0.4)
    counts = np.bincount(found.validation[0], minlength=3)
    assert counts[0] == 0
    assert counts[1] <= 1
    assert counts[2] in (7, 8, 9)
    assert set(found.train[0]) == {0, 1, 2}
    assert found.keys is found.train[0]
    assert found.warnings[0].startswith("dataset.item: ")
    one.drop_duplicates("user").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"validation_fraction=0.4: holds out no rating, as users .* have 1.0 on av"):
        load("ratings", file=str(tmp_path / "t.csv"), validation_fraction=0.4)


def test_users_of_both_files_have_one_code(tmp_path: Path) -> None:
    FRAME.iloc[:900].to_csv(tmp_path / "t.csv", index=False)
    FRAME.iloc[900:].assign(user=lambda f: f.user.astype(str)).to_parquet(tmp_path / "v.parquet")
    found = load("ratings", file=str(tmp_path / "t.csv"), validation_file=str(tmp_path / "v.parquet"))
    assert (found.size, len(found.validation[0])) == (900, len(FRAME) - 900)
    assert found.shape == (USERS, ITEMS)


@pytest.mark.parametrize(
    ("change", "settings", "told"),
    [
        ({"rating": "good"}, {}, r"dataset.rating=rating: is text such as 'good' in .*t.csv"),
        ({"rating": np.inf}, {}, r"t.csv: a rating is missing or not finite in"),
        ({"rating": 4}, {}, r"dataset.rating=rating: all ratings are 4"),
        ({"user": None}, {}, r"dataset.user=user: missing in \d+ rows"),
        ({}, {"item": "film"}, r"dataset.item=film: no such column in .*, it has user, item, rating"),
        ({}, {"item": 9}, r"dataset.item=9: no such column"),
        ({}, {"item": "user"}, r"two of them are the same column"),
        ({}, {"header": False}, r"dataset.header=false: give dataset.user, .* by position"),
        ({}, {"header": False, "user": 0, "item": 1, "rating": 2}, r"dataset.rating=2: is text such as 'rating'"),
        ({}, {"sep": "tab"}, r"its first line is not separated by"),
    ],
    ids=range(10),
)
def test_what_is_refused(tmp_path: Path, change: dict[str, Any], settings: dict[str, Any], told: str) -> None:
    FRAME.assign(**change).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=told):
        load("ratings", file=str(tmp_path / "t.csv"), **settings)


def test_pairs_that_are_there_twice_are_told(tmp_path: Path) -> None:
    pd.concat([FRAME, FRAME.iloc[:3]]).to_csv(tmp_path / "t.csv", index=False)
    found = load("ratings", file=str(tmp_path / "t.csv"))
    assert found.warnings[0] == "dataset.file: 3 ratings are of a pair of user and item that has one already"


def test_to_rank_each_user_is_a_row_with_items_and_those_to_leave_out(tmp_path: Path) -> None:
    frame = FRAME.drop(columns="rating")  # which is not read
    pd.concat([frame, frame.iloc[:3]]).to_csv(tmp_path / "t.csv", index=False)
    found = load("ratings", file=str(tmp_path / "t.csv"), kind="ranking")
    assert (found.kind, found.shape, found.size, found.classes) == ("ranking", (USERS, ITEMS), USERS, 1)
    assert found.warnings == ("dataset.file: 3 ratings are of a pair of user and item that has one already",)
    user, items, none = found.train
    np.testing.assert_array_equal(user, np.arange(USERS))
    assert {leaf.dtype for leaf in (*found.train, *found.validation)} == {np.dtype(np.int32)}
    assert none.shape == (USERS, 0)
    codes = pd.DataFrame({"user": pd.factorize(frame.user)[0], "item": pd.factorize(frame.item)[0]})
    whole = {int(user): set(item) for user, item in codes.groupby("user")["item"]}
    for who, held, seen in zip(*found.validation, strict=True):
        learnt, kept = ([int(item) for item in row if item < ITEMS] for row in (items[who], held))
        np.testing.assert_array_equal(seen, items[who])
        assert len(learnt) + len(kept) == len(whole[int(who)])
        assert set(learnt) | set(kept) == whole[int(who)]
        assert kept


def test_what_is_learnt_from_is_not_ranked_again(tmp_path: Path) -> None:
    pd.DataFrame({"user": [1, 1, 2], "item": ["a", "b", "a"]}).to_csv(tmp_path / "t.csv", index=False)
    both = {"file": str(tmp_path / "t.csv"), "validation_file": str(tmp_path / "v.csv"), "kind": "ranking"}
    pd.DataFrame({"user": [1, 2, 3, 2], "item": ["a", "c", "d", "c"]}).to_csv(tmp_path / "v.csv", index=False)
    found = load("ratings", **both)
    train, validation = (
        [(int(user), *(row.tolist() for row in lists)) for user, *lists in zip(*part, strict=True)]
        for part in (found.train, found.validation)
    )
    assert train == [(0, [0, 1], []), (1, [0, 4], [])]
    assert validation == [(1, [2], [0, 4]), (2, [3], [4, 4])]
    pd.DataFrame({"user": [2], "item": ["a"]}).to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(DataError, match=r"dataset.validation_file=.*v.csv: has only pairs of dataset.file"):
        load("ratings", **both)
    pd.DataFrame({"user": [2], "item": ["b"]}).to_csv(tmp_path / "v.csv", index=False)
    with pytest.raises(DataError, match=r"dataset.user=user: 1 has all 2 items of .*t.csv, .* leave this user out"):
        load("ratings", **both)


def test_to_rank_no_column_of_ratings_is_needed(tmp_path: Path) -> None:
    FRAME[["user", "item"]].to_csv(tmp_path / "t.csv", index=False, header=False)
    file, places = str(tmp_path / "t.csv"), {"header": False, "user": 0, "item": 1}
    assert load("ratings", file=file, kind="ranking", **places).size == USERS
    with pytest.raises(DataError, match=r"dataset.header=false: give dataset.user and dataset.item by position"):
        load("ratings", file=file, kind="ranking", header=False)
    with pytest.raises(DataError, match=r"dataset.kind=numbers .*ratings.*ranking"):
        load("ratings", file=file, kind="numbers")


@pytest.mark.parametrize(("optimizer", "l2"), [("agn", 0), slow("synchronous", 1e-4)])
def test_errors_fall_to_the_noise(tmp_path: Path, optimizer: str, l2: float) -> None:
    """Some 280 ratings are held out, so that their root mean square is known to some four per cent."""
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    data = ["dataset=ratings", f"dataset.file={tmp_path / 't.csv'}", "dataset.partition=label", "model=factorisation"]
    rules = [f"optimizer={optimizer}", "optimizer.window=1", "workers=2", "local=adam", "local.learning_rate=0.03"]
    more = ["model.rank=2", f"model.l2={l2}", "batch_size=64", "epochs=100", "evaluate.points=2"]
    run = distopt.run(["launcher=sim", *data, *rules, *more, f"output={tmp_path / 'runs'}"])
    first, last = (run.evals[run.evals["split"] == "validation"].iloc[i] for i in (0, -1))
    assert run.metrics[0].name == "rmse"
    assert first["rmse"] > 1.5
    assert 0.9 * NOISE < last["rmse"] < 1.35 * NOISE
    assert last["mae"] == pytest.approx(last["rmse"] * np.sqrt(2 / np.pi), rel=0.1)
    assert ("penalty" in last) == (l2 > 0)


def test_models_for_ratings_alone() -> None:
    with pytest.raises(ConfigError, match=r"model=mlp takes .*; the data set has ratings .*, for model=factorisation"):
        models.build({"name": "mlp", "hidden": [3]}, (5, 4), 1, "ratings")
    with pytest.raises(ConfigError, match=r"model.rank=0 must be a whole number >= 1"):
        models.build({"name": "factorisation", "rank": 0}, (5, 4), 1, "ratings")
