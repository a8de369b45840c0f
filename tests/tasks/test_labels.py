"""Labels of which any number hold: metrics against scikit-learn, data with several columns of 0 and 1."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

import distopt
from distopt import models
from distopt.errors import ConfigError, DataError
from distopt.tasks import labels
from distopt.training.evaluation import Evaluator
from tests.datasets.test_own import load, save
from tests.small import experiment

RNG = np.random.default_rng(0)
COUNT = 400
measure = jax.jit(labels.measure)


def scored(spread: float, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels that go with them, of three labels of which the last is rare."""
    z = RNG.normal(shift, spread, size=(COUNT, 3)).astype(np.float32)
    limits = np.array([np.quantile(z[:, i], q) for i, q in enumerate((0.3, 0.6, 0.95))])
    return z, (z + spread * RNG.normal(size=z.shape) > limits).astype(np.int8)


@pytest.mark.parametrize(("spread", "shift"), [(1.0, 0.0), (3.0, -4.0), (0.2, 0.0)])
def test_metrics_are_those_of_scikit_learn(spread: float, shift: float) -> None:
    """The area is exact but for pairs within one bin."""
    z, y = scored(spread, shift)
    parts = [measure(jnp.array(z[rows]), (None, jnp.array(y[rows]))) for rows in (slice(300), slice(300, None))]
    sums = jax.tree.map(lambda a, b: np.float64(a) + np.float64(b), *parts)
    told = labels.finish(sums, np)
    positives, negatives = sums["scores"]
    np.testing.assert_array_equal(positives.sum(axis=1), y.sum(axis=0))
    within = ((positives * negatives).sum(axis=1) / (y.sum(axis=0) * (COUNT - y.sum(axis=0)))).mean() / 2
    assert within < 0.01
    assert abs(told["auc"] - roc_auc_score(y, z)) <= within + 1e-9
    assert told["f1"] == pytest.approx(f1_score(y, z > 0, average="micro"), rel=1e-6)
    assert told["accuracy"] == pytest.approx((y == (z > 0)).mean(), rel=1e-6)
    p = 1 / (1 + np.exp(-z.astype(np.float64)))
    assert told["loss"] == pytest.approx(-np.log(np.where(y, p, 1 - p)).sum(axis=1).mean(), rel=1e-5)
    compiled = jax.jit(lambda s: labels.finish(s, jnp))(jax.tree.map(np.float32, sums))
    for name, value in compiled.items():
        assert float(value) == pytest.approx(float(told[name]), rel=1e-5)


def test_labels_without_pairs_have_no_area() -> None:
    z, y = jnp.array([[1.0, 2.0], [-1.0, 3.0]]), jnp.array([[1, 1], [0, 1]])
    assert float(labels.finish(measure(z, (None, y)), np)["auc"]) == 1
    none = labels.finish(measure(-jnp.ones((2, 1)), (None, jnp.zeros((2, 1)))), np)
    assert np.isnan(none["auc"])
    assert (float(none["f1"]), float(none["accuracy"])) == (0, 1)


def test_members_have_metrics_of_their_own_and_a_mean_probability() -> None:
    z, y = scored(2.0, 0.0)
    members = jnp.array(np.stack([z, -z]))
    each = jax.jit(jax.vmap(lambda one: labels.measure(one, (None, jnp.array(y)))))(members)
    auc = labels.finish(each, np)["auc"]
    assert auc.shape == (2,)
    assert auc.sum() == pytest.approx(1, abs=1e-6)
    combined = dict(labels.COMBINE)[""](members)
    np.testing.assert_allclose(combined, 0, atol=1e-5)


FRAME = pd.DataFrame(RNG.normal(size=(200, 4)), columns=list("pqrs"))
FRAME = FRAME.assign(
    a=(FRAME.p > 0).astype(int), b=FRAME.q > 0.5, c=((FRAME.r + FRAME.p) > 1.5).astype(float), note="x"
)


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_columns_of_labels(tmp_path: Path, name: str) -> None:
    file = save(FRAME, tmp_path / f"t.{name}")
    found = load(name, file=file, label=["a", "b", "c"], kind="labels")
    assert (found.kind, found.classes, found.shape) == ("labels", 3, (4,))
    assert (found.size + len(found.validation[1]), found.train[1].dtype) == (200, np.int8)
    assert found.size == pytest.approx(160, abs=2)
    shares = [part[1].mean(axis=0) for part in (found.train, found.validation)]
    np.testing.assert_allclose(*shares, atol=0.05)
    assert f"3 labels: a ({FRAME.a.sum()}), b ({FRAME.b.sum()}), c ({int(FRAME.c.sum())}); " in found.told[1]
    one = load(name, file=file, label="b", kind="labels", features=["p", "q"])
    assert (one.classes, one.train[1].shape, one.shape) == (1, (160, 1), (2,))


def test_arrays_of_labels(tmp_path: Path) -> None:
    y = FRAME[["a", "b"]].to_numpy(int)
    y[:, 1] = 0
    np.savez(tmp_path / "t.npz", train_x=FRAME[["p", "q"]], train_y=y)
    file = str(tmp_path / "t.npz")
    found = load("npz", file=file, kind="labels")
    assert (found.kind, found.classes, found.train[1].shape) == ("labels", 2, (160, 2))
    assert found.warnings[0].endswith("dataset.train_y=train_y: the same in all samples to train on: 1")
    with pytest.raises(DataError, match=r"expected one integer or string per sample; set dataset.kind=labels"):
        load("npz", file=file)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ([0, 1, 2, 1] * 50, r"dataset.label=y: has 2, and dataset.kind=labels needs columns of 0 and 1"),
        ([1] * 200, r"dataset.label=y: the same in all samples to train on; there is nothing to predict"),
        (["yes", "no"] * 100, r"dataset.label=y: has yes, and dataset.kind=labels needs columns of 0 and 1"),
    ],
)
def test_columns_that_are_no_labels(tmp_path: Path, column: list[Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        load("csv", file=save(FRAME.assign(y=column), tmp_path / "t.csv"), label="y", kind="labels")


def test_of_several_columns_the_wrong_one_is_named(tmp_path: Path) -> None:
    file = save(FRAME.assign(b=2), tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"dataset.label=\[a,b\]: column b has 2, and dataset.kind=labels needs"):
        load("csv", file=file, label=["a", "b"], kind="labels")


def test_settings_that_do_not_go_together() -> None:
    data = ["launcher=sim", "dataset=csv", "dataset.file=t.csv", "dataset.label=[a,b]"]
    with pytest.raises(ConfigError, match=r"dataset.label=\[a,b\]: several labels need dataset.kind=labels"):
        distopt.run(data)
    with pytest.raises(ConfigError, match=r"dataset.label=b: is also one of dataset.features"):
        distopt.run([*data, "dataset.kind=labels", "dataset.features=[b,c]"])


def test_progress_and_evaluation_have_sums_of_one_shape(tmp_path: Path) -> None:
    data = load("csv", file=save(FRAME, tmp_path / "t.csv"), label=["a", "b", "c"], kind="labels")
    it = experiment("agn", model={"name": "logistic"}, data=data)
    params, state = it.model.init(jax.random.key(0))
    shapes = jax.eval_shape(lambda: it.model.loss(params, state, data.train, jax.random.key(0)))[1][1]
    assert jax.tree.map(lambda a: (a.shape, a.dtype), it.model.no_sums()) == jax.tree.map(
        lambda a: (a.shape, a.dtype), shapes
    )
    rows = Evaluator(it, state)(params, update=0, time_s=0.0, samples=0)
    outputs, _ = it.model.forward(params, state, data.validation, None)
    assert rows[1]["auc"] == pytest.approx(roc_auc_score(data.validation[1], outputs), abs=2e-3)
    assert models.TRAINABLE["logistic"] == ("classes", "labels")
