"""Trackers get a run's numbers; whatever goes wrong in one is a warning and never the end of a run."""

import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import distopt
from distopt.errors import ConfigError
from distopt.records import News
from distopt.runs.results import Run
from distopt.trackers import Tracking

SMALL = ["launcher=sim", "model=booth", "dataset=none", "optimizer=agn", "local=sgd", "local.learning_rate=0.01"]
SMALL += ["workers=2", "stop.updates=8", "evaluate.points=4"]

METRICS = [{"name": "accuracy", "better": "higher"}, {"name": "loss", "better": "lower"}]


class Recording:
    """Keeps what it is told, and fails where it is asked to."""

    def __init__(self, fails_in: str | None = None) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.ends: list[str] = []
        self.fails_in = fails_in

    def start(self, *arguments: Any) -> "Recording":
        self._perhaps("start")
        return self

    def log(self, update: int, values: Mapping[str, float]) -> None:
        self._perhaps("log")
        self.rows.append((update, dict(values)))

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        self._perhaps("finish")
        self.ends.append(status)

    def _perhaps(self, call: str) -> None:
        if call == self.fails_in:
            raise OSError("no room left")


def install(monkeypatch: pytest.MonkeyPatch, name: str, tracker: Recording) -> Recording:
    monkeypatch.setitem(sys.modules, f"distopt.trackers.{name}", SimpleNamespace(start=tracker.start))
    return tracker


def run(folder: Path, *overrides: str) -> Run:
    return distopt.run([*SMALL, f"output={folder}", *overrides])


def test_commits_are_averaged_and_evaluations_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tracker = install(monkeypatch, "wandb", Recording())
    warnings: list[str] = []
    tracking = Tracking(
        {"trackers": ["wandb"], "trackers_output": None}, {"metrics": METRICS}, tmp_path, 3, warnings.append
    )
    commits = [{"update": u, "worker": 0, "time_s": u / 2, "staleness": u, "loss": 2.0 * u} for u in range(1, 6)]
    commits[-1]["loss"] = float("nan")
    evaluation = {"update": 4, "time_s": 2.0, "split": "train", "loss": 0.5, "accuracy": float("nan")}
    tracking.log(News(commits[:2], []))
    tracking.log(News(commits[2:3], []))
    tracking.log(News(commits[3:], [evaluation]))
    tracking.finish("done", {})
    assert tracker.rows == [
        (3, {"commits/staleness": 2.0, "commits/loss": 4.0, "time_s": 1.5}),
        (4, {"train/loss": 0.5, "time_s": 2.0}),
        (5, {"commits/staleness": 4.5, "commits/loss": 8.0, "time_s": 2.5}),  # the mean of what is known
    ]
    assert (tracker.ends, warnings) == (["done"], [])


@pytest.mark.parametrize("call", ["start", "log", "finish"])
def test_a_tracker_that_fails_is_dropped_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str
) -> None:
    broken, sound = install(monkeypatch, "wandb", Recording(call)), install(monkeypatch, "mlflow", Recording())
    finished = run(tmp_path, "trackers=[wandb,mlflow]")
    assert finished.status == "stopped"
    assert sound.ends == ["stopped"]
    assert len(sound.rows) > 8
    assert broken.ends == []
    if call != "finish":  # which comes after run.json is written
        assert "trackers=wandb is dropped, the run goes on: OSError: no room left" in finished.info["warnings"]
        assert broken.rows == []


def test_a_missing_extra_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.delitem(sys.modules, "distopt.trackers.wandb", raising=False)
    finished = run(tmp_path, "trackers=[wandb]")
    assert finished.status == "stopped"
    (warning,) = (words for words in finished.info["warnings"] if "wandb" in words)
    assert "pip install 'distopt[wandb]'" in warning


@pytest.mark.parametrize("given", ["[tensorbord]", "tensorboard", "[wandb,wandb]", "null"])
def test_what_is_no_tracker_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match=r"trackers=.* must be a list of some of tensorboard, wandb, mlflow"):
        run(tmp_path, f"trackers={given}")
    assert list(tmp_path.iterdir()) == []


def scalars(file: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars of a TensorBoard event file: records of length, checksum, message, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    data = file.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        event = Event.FromString(data[12 : 12 + length])
        data = data[16 + length :]
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def check_against(finished: Run, loss: list[tuple[int, float]]) -> None:
    evals = finished.evals[finished.evals["split"] == "train"]
    assert [update for update, _ in loss] == evals["update"].tolist()
    np.testing.assert_allclose([value for _, value in loss], evals["loss"], rtol=1e-6)


def test_tensorboard_reads_what_the_run_recorded(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    finished = run(tmp_path / "runs", "trackers=[tensorboard]")
    (file,) = (finished.folder / "tensorboard").iterdir()
    found = scalars(file)
    check_against(finished, found["train/loss"])
    assert {"commits/staleness", "commits/distance", "time_s"} <= found.keys()
    other = run(tmp_path / "runs", "trackers=[tensorboard]", f"trackers_output={tmp_path / 'chosen'}", "seed=1")
    assert len(list((tmp_path / "chosen" / "tensorboard" / other.folder.name).iterdir())) == 1
    assert not (other.folder / "tensorboard").exists()


@pytest.mark.filterwarnings("ignore")  # its own deprecations
def test_mlflow_reads_what_the_run_recorded(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    finished = run(tmp_path / "runs", "trackers=[mlflow]", f"trackers_output={tmp_path}")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("distopt")
    assert experiment
    (recorded,) = client.search_runs([experiment.experiment_id])
    assert (recorded.info.run_name, recorded.info.status) == (finished.folder.name, "FINISHED")
    assert recorded.data.params["optimizer.window"] == str(finished.config["optimizer"]["window"])
    history = client.get_metric_history(recorded.info.run_id, "train/loss")
    check_against(finished, sorted((metric.step, metric.value) for metric in history))


def test_weights_and_biases_stays_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    finished = run(tmp_path / "runs", "trackers=[wandb]")
    assert not [words for words in finished.info["warnings"] if "wandb" in words]
    (folder,) = (finished.folder / "wandb").glob("offline-run-*")
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert written
    assert not [content for content in written if b"0123456789" * 4 in content]
