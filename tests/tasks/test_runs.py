"""Every kind of data and features is learnt by an asynchronous and by a synchronous optimizer, and repeated."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import dump_svmlight_file

import distopt
from distopt.runs.results import Run
from tests.launchers.test_replay import center
from tests.marks import slow

RNG = np.random.default_rng(0)
N, D = 300, 40
X = np.where(RNG.random((N, D)) < 0.15, 1 + RNG.random((N, D)), 0)
W = RNG.normal(size=(D, 3))


def svmlight(folder: Path, y: object, kind: str, model: str) -> list[str]:
    dump_svmlight_file(X, y, str(folder / "t.svm"), multilabel=kind == "labels")
    file = f"dataset.file={folder / 't.svm'}"
    return ["dataset=svmlight", file, f"dataset.kind={kind}", f"dataset.features={D}", f"model={model}"]


def classes(folder: Path) -> list[str]:
    return [*svmlight(folder, (X @ W).argmax(axis=1), "classes", "logistic"), "model.l2=1e-3"]


def dense_classes(folder: Path) -> list[str]:
    np.savez(folder / "t.npz", train_x=X, train_y=(X @ W).argmax(axis=1))
    return ["dataset=npz", f"dataset.file={folder / 't.npz'}", "model=logistic", "model.l2=1e-3"]


def numbers(folder: Path) -> list[str]:
    return [*svmlight(folder, X @ W[:, 0], "numbers", "mlp"), "model.hidden=[8]", "model.norm=batch"]


def several_labels(folder: Path) -> list[str]:
    return [
        *svmlight(folder, (X @ W > 0.5).astype(int), "labels", "wide_deep"),
        "model.embedding=4",
        "model.hidden=[8]",
    ]


def one_label(folder: Path) -> list[str]:
    table = pd.DataFrame(X[:, :6]).rename(columns=str).assign(label=(X[:, :6] @ W[:6, 0] > 0).astype(int))
    table.to_csv(folder / "t.csv", index=False)
    return ["dataset=csv", f"dataset.file={folder / 't.csv'}", "dataset.kind=labels", "model=mlp", "model.hidden=[8]"]


def ratings(folder: Path) -> list[str]:
    user, item = np.nonzero(RNG.random((30, 20)) < 0.6)
    values = RNG.normal(size=30)[user] + RNG.normal(size=20)[item]
    pd.DataFrame({"user": user, "item": item, "rating": values}).to_csv(folder / "t.csv", index=False)
    return ["dataset=ratings", f"dataset.file={folder / 't.csv'}", "model=factorisation", "model.rank=2"]


def ranking(folder: Path) -> list[str]:
    likes = RNG.normal(size=(30, 2)) @ RNG.normal(size=(2, 60)) + RNG.normal(size=60)
    user, item = np.nonzero(likes > 1)
    pd.DataFrame({"user": user, "item": item}).to_csv(folder / "t.csv", index=False)
    file = f"dataset.file={folder / 't.csv'}"
    return ["dataset=ratings", file, "dataset.kind=ranking", "model=factorisation", "model.rank=2", "batch_size=5"]


Make = Callable[[Path], list[str]]


def trained(folder: Path, data: list[str], *more: str) -> Run:
    rules = ["workers=2", "epochs=12", "batch_size=16", "evaluate.points=2", "local=sgd", "local.learning_rate=0.3"]
    return distopt.run([*rules, *data, *more, f"output={folder / 'runs'}"])


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        slow(classes, "downpour"),
        slow(classes, "synchronous"),
        slow(numbers, "downpour"),
        (numbers, "synchronous"),
        (several_labels, "downpour"),
        slow(several_labels, "synchronous"),
        slow(one_label, "downpour"),
        slow(one_label, "easgd"),
        slow(ratings, "downpour"),
        (ratings, "synchronous"),
        slow(ranking, "downpour"),
        (ranking, "synchronous"),
    ],
)
def test_what_is_measured_gets_better(tmp_path: Path, make: Make, optimizer: str) -> None:
    run = trained(tmp_path, make(tmp_path), "launcher=sim", f"optimizer={optimizer}")
    assert run.status == "done"
    rows = run.evals[run.evals["split"] == "validation"]
    for metric in run.metrics:
        assert np.isfinite(run.commits[metric.name]).all()
        first, last = rows[metric.name].iloc[0], rows[metric.name].iloc[-1]
        assert last < first if metric.better == "lower" else last > first


def test_a_run_on_sparse_features_is_that_on_dense_ones(tmp_path: Path) -> None:
    rules = ["launcher=sim", "optimizer=adag"]
    sparse, dense = (trained(tmp_path, make(tmp_path), *rules) for make in (classes, dense_classes))
    assert sparse.commits["worker"].tolist() == dense.commits["worker"].tolist()
    assert sparse.commits["bytes_up"].tolist() == dense.commits["bytes_up"].tolist()
    for column in ("loss", "accuracy", "penalty"):
        np.testing.assert_allclose(sparse.evals[column], dense.evals[column], rtol=2e-4)


@pytest.mark.ray
@pytest.mark.slow
def test_real_workers_train_on_sparse_features_and_are_repeated(tmp_path: Path) -> None:
    data = several_labels(tmp_path)
    run = trained(tmp_path, data, "launcher=ray", "optimizer=downpour")
    assert run.status == "done"
    again = trained(tmp_path, data, "launcher=replay", f"launcher.trace={run.folder}", "optimizer=downpour")
    assert center(again) == center(run)
    assert run.evals["auc"].iloc[-1] > 0.8


@pytest.mark.slow
def test_a_model_of_sparse_features_teaches_another(tmp_path: Path) -> None:
    (file,) = [override for override in classes(tmp_path) if "dataset.file=" in override]
    data = ["dataset=svmlight", file, f"dataset.features={D}", "launcher=sim", "optimizer=agn"]
    teacher = trained(tmp_path / "teacher", [*data, "model=mlp"])
    run = trained(tmp_path, [*data, "model=logistic", f"teacher={teacher.folder}"])
    assert run.status == "done"
    assert run.evals["agreement"].iloc[-1] > 0.8
