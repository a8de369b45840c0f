"""A recorded commit order gives the same center, another order another one, and an impossible order an error."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import distopt
from distopt.errors import ResultsError
from distopt.launchers.replay import differences
from distopt.launchers.trace import Trace
from distopt.records import Event
from distopt.runs.results import Run
from tests.launchers.records import assert_same
from tests.marks import slow

SETTINGS = ["workers=3", "epochs=4", "evaluate.points=2"]
FAILING = ["cluster.failures.mean_time_s=0.3", "cluster.failures.downtime_s=0.1", "workers=3", "epochs=1"]
REPEATED = ["worker", "staleness", "update", "steps", "loss", "commit_norm", "distance", "time_s", "sequence"]


def simulated(folder: Path, optimizer: str) -> Run:
    return distopt.run(
        ["launcher=sim", "cluster=heterogeneous", *SETTINGS, f"optimizer={optimizer}", f"output={folder}"]
    )


def replayed(folder: Path, trace: Path, *overrides: str) -> Run:
    return distopt.run(["launcher=replay", f"launcher.trace={trace}", *SETTINGS, f"output={folder}", *overrides])


def center(run: Run) -> dict[str, bytes]:
    with np.load(run.folder / "model.npz") as model:
        return {name: model[name].tobytes() for name in model.files}


@pytest.mark.parametrize("optimizer", ["adag", slow("aeasgd"), "easgd", slow("synchronous")])
def test_the_replay_of_a_run_has_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    original = simulated(tmp_path, optimizer)
    again = replayed(tmp_path, original.folder, f"optimizer={optimizer}")
    assert again.status == "done"
    assert center(again) == center(original)
    assert_same(again.commits, original.commits, REPEATED)


def test_swapping_two_neighbouring_commits_changes_the_center(tmp_path: Path) -> None:
    original = simulated(tmp_path, "adag")
    order = original.commits["worker"].tolist()
    i = next(i for i in range(3, len(order)) if order[i] != order[i + 1])
    order[i], order[i + 1] = order[i + 1], order[i]
    trace = tmp_path / "trace.csv"
    pd.DataFrame({"worker": order}).to_csv(trace, index=False)
    again = replayed(tmp_path, trace)
    assert again.status == "done"
    assert center(again) != center(original)


@pytest.mark.parametrize(
    ("optimizer", "order", "said"),
    [
        ("adag", [0, 1, 3], "worker 3"),
        ("adag", [0, -1], "worker -1"),
        ("adag", [0] * 1000, "budget"),
        ("easgd", [0, 1, 0], "twice"),
    ],
)
def test_an_order_no_run_can_have_is_refused(tmp_path: Path, optimizer: str, order: list[int], said: str) -> None:
    trace = tmp_path / "trace.csv"
    pd.DataFrame({"worker": order}).to_csv(trace, index=False)
    with pytest.raises(ResultsError, match=said):
        replayed(tmp_path / "results", trace, f"optimizer={optimizer}")
    assert not (tmp_path / "results").exists()


def test_a_trace_of_another_configuration_is_refused_with_what_differs(tmp_path: Path) -> None:
    original = distopt.run(["launcher=sim", "workers=3", "epochs=1", f"output={tmp_path}"])
    with pytest.raises(ResultsError, match=r"optimizer\.gamma was 0\.0001, is 0\.5"):
        replayed(tmp_path, original.folder, "workers=3", "epochs=1", "optimizer.gamma=0.5")


@pytest.mark.parametrize("optimizer", ["adag", slow("softsync"), slow("easgd"), slow("backup")])
def test_a_run_whose_workers_failed_is_repeated_from_its_events(tmp_path: Path, optimizer: str) -> None:
    failing = [*FAILING, f"optimizer={optimizer}"]
    original = distopt.run(["launcher=sim", *failing, f"output={tmp_path}"])
    assert set(original.events["kind"]) == {"returned"}
    assert (original.events["lost_steps"] > 0).all()
    again = replayed(tmp_path, original.folder, *failing)
    assert center(again) == center(original)
    assert_same(again.commits, original.commits, REPEATED)
    told = ["update", "worker", "sequence", "owner", "first_step", "lost_steps"]
    assert_same(again.events, original.events, told)
    if optimizer == "adag":
        batched = distopt.run(["launcher=sim", "launcher.width=4", *failing, f"output={tmp_path}"])
        assert_same(batched.events, original.events, [*told, "time_s"])


def test_a_run_whose_workers_failed_is_refused_without_its_events(tmp_path: Path) -> None:
    original = distopt.run(["launcher=sim", *FAILING, f"output={tmp_path}"])
    (original.folder / "events.parquet").unlink()
    with pytest.raises(ResultsError, match="no events say when"):
        replayed(tmp_path, original.folder, *FAILING)


@pytest.mark.parametrize("content", ["", "machine\n1\n", "worker\nfirst\n", "worker\n1.5\n", "worker\n\n,\n"])
def test_a_file_that_holds_no_order_is_refused_before_anything_starts(tmp_path: Path, content: str) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(content)
    with pytest.raises(ResultsError, match=r"launcher\.trace"):
        replayed(tmp_path / "results", trace)
    assert not (tmp_path / "results").exists()


def test_windows_that_workers_took_over_are_repeated_as_such() -> None:
    frame = pd.DataFrame({"worker": [0, 0], "update": [1, 2], "sequence": [1, 2], "steps": [10, 5]})
    lost = Event(1, 0.0, 1, "orphaned", owner=1, first_step=30)
    taken = Event(1, 0.0, 0, "taken over", sequence=1, owner=1, first_step=30)
    events = pd.DataFrame([lost.row(), taken.row()])
    first, second = Trace(frame, events).updates(pull=False)
    assert (first.left, first.joined, first.commits[0].share) == ((), (), None)
    assert (second.left, second.joined, second.commits[0].share) == ((1,), ((0, 1, 30),), (1, 30))


def test_a_relative_path_of_an_older_run_is_the_file_it_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = {"dataset": {"file": str(tmp_path / "t.csv"), "label": "y"}}
    assert differences({"dataset": {"file": "t.csv", "label": "y"}}, now) == []
    [told] = differences({"dataset": {"file": "u.csv", "label": "y"}}, now)
    assert told.startswith("dataset.file was u.csv, is ")
