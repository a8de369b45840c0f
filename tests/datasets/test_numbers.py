"""Numbers to predict: scaled by the training part, split without regard to their values."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import distopt
from distopt.errors import ConfigError, DataError
from tests.datasets.test_own import load, save
from tests.launchers.test_replay import center

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 3))
PRICE = 100_000 + 5_000 * X @ [1, -2, 0.5] + 100 * RNG.normal(size=200)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"]).assign(price=PRICE)


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_table_of_prices(tmp_path: Path, name: str) -> None:
    found = load(name, file=save(FRAME, tmp_path / f"t.{name}"), label="price", kind="numbers")
    assert (found.kind, found.size, len(found.validation[0]), found.classes) == ("numbers", 160, 40, 1)
    assert found.train[1] is not None
    assert found.train[1].dtype == np.float32
    assert (found.train[1].mean(), found.train[1].std()) == pytest.approx((0, 1), abs=1e-5)
    assert "dataset.label=price: numbers of mean " in found.told[-1]
    assert "160 samples to train on, 40 to validate on" in found.told[-1]


def test_validation_numbers_are_scaled_as_the_training_ones(tmp_path: Path) -> None:
    train, validation = save(FRAME, tmp_path / "t.csv"), save(FRAME.assign(price=PRICE + 1000), tmp_path / "v.csv")
    found = load("csv", file=train, validation_file=validation, label="price", kind="numbers")
    np.testing.assert_allclose(found.validation[1] - found.train[1], 1000 / PRICE.std(), rtol=1e-3)


def test_arrays_of_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", train_x=X, train_y=PRICE)
    assert load("npz", file=str(tmp_path / "t.npz"), kind="numbers").kind == "numbers"


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (["a"] * 200, "dataset.label=price: is text such as 'a', and dataset.kind=numbers needs numbers"),
        ([1.0, np.inf] * 100, "dataset.label=price: is missing or infinite in some samples"),
        ([0.1] * 200, "dataset.label=price: all values are 0.1; there is nothing to predict"),
        ([3.5] * 200, "dataset.label=price: all values are 3.5; there is nothing to predict"),
    ],
)
def test_columns_that_are_no_numbers_to_predict(tmp_path: Path, column: list[Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        load("csv", file=save(FRAME.assign(price=column), tmp_path / "t.csv"), label="price", kind="numbers")


@pytest.mark.parametrize("optimizer", ["agn", "easgd", "ensemble"])
def test_regression_is_learnt_compared_and_repeated(tmp_path: Path, optimizer: str) -> None:
    """The prices are linear in three features but for noise of 1 % of their spread."""
    file = save(FRAME, tmp_path / "t.csv")
    overrides = ["dataset=csv", f"dataset.file={file}", "dataset.label=price", "dataset.kind=numbers", "model=linear"]
    overrides += ["workers=2", "epochs=60", "evaluate.points=4", "batch_size=8", f"output={tmp_path / 'runs'}"]
    overrides += [f"optimizer={optimizer}", "local=sgd", "local.learning_rate=0.05"]
    run = distopt.run(["launcher=sim", *overrides])
    last = run.evals[run.evals["split"] == "validation"].iloc[-1]
    assert (run.metrics[0].name, run.metrics[0].better) == ("rmse", "lower")
    assert last["rmse"] < 0.1
    assert last["r2"] > 0.99
    assert last["loss"] == pytest.approx(last["rmse"] ** 2 / 2, rel=1e-5)
    again = distopt.run(["launcher=replay", f"launcher.trace={run.folder}", *overrides])
    assert center(again) == center(run)
    best = distopt.compare(run, metric="r2")
    assert best["better"].tolist() == ["higher"]
    assert best["final"].tolist() == [last["r2"]]


def test_models_and_shards_that_need_classes_are_refused(tmp_path: Path) -> None:
    file = save(FRAME, tmp_path / "t.csv")
    data = ["launcher=sim", "dataset=csv", f"dataset.file={file}", "dataset.label=price", "dataset.kind=numbers"]
    told = (
        r"model=logistic takes samples with a class \(.*; the data set has samples with a number.*, for model=mlp, cnn"
    )
    with pytest.raises(ConfigError, match=told):
        distopt.run([*data, "model=logistic"])
    with pytest.raises(ConfigError, match=r"dataset.partition=label: the data have no labels"):
        distopt.run([*data, "dataset.partition=label"])
    with pytest.raises(ConfigError, match=r"stop.accuracy: no such metric, model=mlp has rmse, r2, mae, loss"):
        distopt.run([*data, "stop.accuracy=0.5"])
