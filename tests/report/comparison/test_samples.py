"""Each seed counts once, however many folders there are of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distopt.metrics.statistics import mean_interval
from distopt.report.comparison.compare import Comparison, compare_runs
from distopt.report.comparison.grouping import group
from distopt.runs.results import load_all
from scripts.tools import folders

OPTIMIZERS = ("agn", "adag")


def write(folder: Path, optimizer: str, seed: int, minute: int, status: str = "done", **facts: Any) -> Path:
    """Write a run that began in some minute and gets better at a pace of its own."""
    evals = folders.evals(optimizer, points=6, seed=seed)
    started = f"2026-01-01T00:{minute:02}:00+00:00"
    info = folders.info(**{"status": status, "started": started, "code": "aa", **facts})
    return folders.write(folder, settings=folders.config(optimizer, seed), facts=info, eval_rows=evals)


def compared(root: Path) -> Comparison:
    runs, problems = load_all([root])
    assert not problems
    return compare_runs(runs, reference="agn")


def reasons(root: Path) -> list[tuple[str, str]]:
    found = [one for each in compared(root).groups for one in each.left_out]
    return sorted((one.run.folder.name, one.reason) for one in found)


def test_a_run_made_again_in_virtual_time_is_no_second_seed(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"run{i}", "agn", seed=0, minute=i)
    [row] = compared(tmp_path).rows.to_dict("records")
    assert row["seeds"] == 1
    assert np.isnan(row["final_low"])
    assert reasons(tmp_path) == [("run0", "repeated in virtual time"), ("run1", "repeated in virtual time")]


def test_runs_on_the_wall_clock_are_repetitions_but_copies_are_not(tmp_path: Path) -> None:
    for i in range(2):
        write(tmp_path / f"run{i}", "agn", seed=0, minute=i, clock="wall")
    shutil.copytree(tmp_path / "run0", tmp_path / "copy")
    [configuration] = compared(tmp_path).groups[0].configurations
    assert len(configuration.runs) == 2
    assert [reason for _, reason in reasons(tmp_path)] == ["a copy"]


def test_repetitions_on_the_wall_clock_enter_intervals_as_the_mean_of_their_seed(tmp_path: Path) -> None:
    """Seed 0 ran three times: the interval is over two seeds, and the mean is not that of the four runs."""
    finals = {(0, 1): 0.5, (0, 2): 0.6, (0, 3): 1.0, (1, 4): 0.9}
    for optimizer in OPTIMIZERS:
        for (seed, minute), final in finals.items():
            folder = write(tmp_path / f"{optimizer}{minute}", optimizer, seed, minute, clock="wall")
            evals = pd.read_parquet(folder / "evals.parquet")
            evals["accuracy"] = 0.0
            evals.loc[evals.index[-1], "accuracy"] = final - (0.1 if optimizer == "adag" else 0.0)
            evals.to_parquet(folder / "evals.parquet")
    agn, adag = (compared(tmp_path).rows.set_index("configuration").loc[name] for name in OPTIMIZERS)
    assert (agn["seeds"], agn["runs"]) == (2, 4)
    expected = mean_interval([0.7, 0.9])
    np.testing.assert_allclose([agn["final"], agn["final_low"], agn["final_high"]], expected)
    assert agn["final_std"] == pytest.approx(np.std([0.7, 0.9], ddof=1))
    assert adag["difference"] == pytest.approx(-0.1)
    one_seed = compare_runs([run for run in load_all([tmp_path])[0] if run.seed == 0], reference="agn").rows
    assert one_seed["final_low"].isna().all()
    assert one_seed["p_value"].isna().all()
    shares = compare_runs(load_all([tmp_path])[0], target=0.85, reference="agn").rows.set_index("configuration")
    assert shares.loc["agn", "success_rate"] == pytest.approx((1 / 3 + 1) / 2)


@pytest.mark.parametrize("status", ["interrupted", "failed", "running"])
def test_an_attempt_counts_only_if_nothing_followed_it(tmp_path: Path, status: str) -> None:
    write(tmp_path / "first", "agn", seed=0, minute=1, status=status)
    write(tmp_path / "other", "agn", seed=1, minute=1, status=status)
    write(tmp_path / "second", "agn", seed=0, minute=2)
    [row] = compared(tmp_path).rows.to_dict("records")
    told = "interrupted" if status == "running" else status  # nobody writes the folder
    assert (row["seeds"], row["status"]) == (2, f"done 1, {told} 1")
    assert reasons(tmp_path) == [("first", "an attempt that another one followed")]


def test_a_run_that_diverged_is_not_superseded_by_an_attempt(tmp_path: Path) -> None:
    write(tmp_path / "diverged", "agn", seed=0, minute=1, status="diverged")
    write(tmp_path / "cut", "agn", seed=0, minute=2, status="interrupted")
    assert compared(tmp_path).rows["status"].tolist() == ["diverged"]


def test_other_code_and_other_data_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "a", "agn", seed=0, minute=1)
    write(tmp_path / "b", "agn", seed=1, minute=2, code="bb")
    [both] = group(load_all([tmp_path])[0])
    assert [each.label for each in both.configurations] == ["agn code=aa", "agn code=bb"]
    for name, digest in (("c", "1" * 64), ("d", "2" * 64)):
        folder = write(tmp_path / name, "adag", seed=0, minute=3, contents={"dataset.file": digest})
        assert json.loads((folder / "run.json").read_text())["contents"]
    setting = [each.setting for each in group(load_all([tmp_path / "c", tmp_path / "d"])[0])]
    assert [each["dataset.file"].partition("@")[2] for each in setting] == ["11111111", "22222222"]


def test_data_without_a_file_are_told_apart_by_their_samples(tmp_path: Path) -> None:
    """Another Python has other texts of `help()`; another version of a module makes other samples."""
    for i, digest in enumerate(["1" * 64, "2" * 64, "2" * 64]):
        write(tmp_path / str(i), "adag", seed=i, minute=i, contents={"dataset.content": digest})
    groups = group(load_all([tmp_path])[0])
    assert sorted(len(each.runs) for each in groups) == [1, 2]
    assert sorted(each.name for each in groups) == ["content=@11111111", "content=@22222222"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_copies_names_order_and_unfinished_attempts_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("runs")
    made = [write(root / f"{o}{s}", o, s, minute=10 + s) for o in OPTIMIZERS for s in range(3)]
    before = compared(root).rows
    for i, folder in enumerate(made):
        for j in range(data.draw(st.integers(0, 2), label=f"copies of {folder.name}")):
            shutil.copytree(folder, root / f"{data.draw(st.sampled_from('az'))}{i}{j}")
        if data.draw(st.booleans(), label=f"attempt before {folder.name}"):
            status = data.draw(st.sampled_from(["interrupted", "failed", "running"]))
            write(
                root / f"m{i}",
                folder.name[:-1],
                int(folder.name[-1]),
                minute=data.draw(st.integers(0, 59)),
                status=status,
            )
        if data.draw(st.booleans(), label=f"new name for {folder.name}"):
            folder.rename(root / f"{data.draw(st.sampled_from('az'))}{i}")
    pd.testing.assert_frame_equal(compared(root).rows, before)
