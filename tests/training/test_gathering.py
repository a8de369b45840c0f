"""Streamed samples: the same bits as with all samples on the device, whatever the order in which windows are asked."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distopt
from distopt.datasets import npz
from distopt.runs.results import Run
from distopt.training import gathering
from distopt.training.batches import Itinerary
from distopt.training.gathering import Gatherer
from tests.launchers.records import assert_same
from tests.marks import slow
from tests.small import blobs, experiment

REPEATED = ["worker", "staleness", "update", "steps", "loss", "commit_norm", "sequence"]
DATA = (np.arange(40).reshape(20, 2), np.arange(20))


def test_windows_foreseen_or_not_are_the_same() -> None:
    gatherer = Gatherer(DATA, rows=3)
    asked = [np.array([1, 2, 3]), np.array([4, 5, 6]), np.array([7, 8, 9]), np.array([0, 1, 2])]
    for i, rows in enumerate(asked):
        found, (x, y) = gatherer.take(i, lambda rows=rows: rows)
        assert np.array_equal(found, rows)
        assert np.array_equal(x, DATA[0][rows])
        assert np.array_equal(y, rows)
        gatherer.foresee(i + 1 if i != 1 else "another", lambda i=i: asked[min(i + 1, 3)])
    assert gathering._ahead > 0
    del gatherer
    gathering._THREAD.submit(int).result()  # the thread lets go of what it did before
    assert gathering._ahead == 0


def test_what_is_gathered_ahead_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "AHEAD", 100)
    many = [Gatherer(DATA, rows=2) for _ in range(5)]  # of 48 bytes each
    for gatherer in many:
        gatherer.foresee(0, lambda: np.array([1, 2]))
    assert sum(gatherer._foreseen is not None for gatherer in many) == 2
    for gatherer in many:
        assert np.array_equal(gatherer.take(0, lambda: np.array([1, 2]))[0], [1, 2])
    assert gathering._ahead == 0


def test_lost_windows_are_taken_again() -> None:
    settings = {"name": "none", "partition": "iid"}
    model = {"name": "logistic"}
    common: dict[str, Any] = {"window": 2, "data": blobs(), "model": model, "steps": 9, "batch_size": 4}
    resident, streamed = (experiment("agn", **common, dataset=settings | {"resident": on}) for on in (True, False))
    ours, others = Itinerary(streamed, 1), Itinerary(resident, 1)
    for i in range(4):
        if i == 2:
            ours.back()
            others.back()
        if i == 3:
            ours.load(ours.save())
            ours.stop(1)
            others.stop(1)
        mine, other = ours.next(), others.next()
        assert np.array_equal(mine.indices, other.indices)
        assert other.samples is None
        assert np.array_equal(mine.samples[0], blobs().train[0][mine.indices])


def trained(folder: Path, launcher: str, resident: object, *more: str) -> Run:
    settings = ["workers=3", "steps=23", "evaluate.points=2", f"dataset.resident={resident}", f"output={folder}"]
    run = distopt.run([f"launcher={launcher}", *settings, *more])
    assert run.status == "done", run.info["reason"]
    return run


def assert_equal(one: Run, other: Run) -> None:
    assert_same(one.commits, other.commits, REPEATED)
    assert one.evals.drop(columns="time_s").equals(other.evals.drop(columns="time_s"))
    with np.load(one.folder / "model.npz") as a, np.load(other.folder / "model.npz") as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize(
    "more",
    [
        ["launcher.width=1"],
        slow(["launcher.width=4", "cluster.failures.mean_time_s=0.1", "cluster.failures.downtime_s=0.05"]),
        slow(["optimizer=zealous"]),
        slow(["model=cnn", "dataset=digits", "launcher.width=1"]),
        slow(["model=gpt", "dataset=pydoc", "dataset.context=16", "batch_size=4", "launcher.width=1"]),
        slow(["optimizer=ensemble", "model.norm=batch"]),
    ],
    ids=str,
)
def test_streamed_and_resident_samples_give_the_same_bits(tmp_path: Path, more: list[str]) -> None:
    assert_equal(trained(tmp_path, "sim", False, *more), trained(tmp_path, "sim", True, *more))


@pytest.mark.ray
def test_real_workers_stream_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay keeps on the device what the workers fetched from the file."""
    monkeypatch.setattr(npz, "LARGE", 100)
    x = np.random.default_rng(0).normal(size=(120, 5)).astype(np.float32)
    np.savez(tmp_path / "d.npz", train_x=x, train_y=(x[:, 0] > 0).astype(int))
    data = ["dataset=npz", f"dataset.file={tmp_path / 'd.npz'}", "model=logistic"]
    run = trained(tmp_path, "ray", False, *data)
    again = trained(tmp_path, "replay", True, *data, f"launcher.trace={run.folder}")
    assert_equal(again, run)
