import numpy as np
import pytest

from distopt.report.comparison.compare import Comparison, compare_runs
from distopt.report.comparison.grid import cells, grids, leading, over_grid, profiles
from distopt.runs.results import load
from scripts.tools import folders


def grid(tmp_path, plan) -> Comparison:
    """Runs by (optimizer, workers, window, learning rate), with a time to target of 0.8 and a final accuracy each."""
    for i, ((name, workers, window, rate), (time_s, final)) in enumerate(plan.items()):
        settings = folders.config(name, workers=workers)
        settings["optimizer"]["window"], settings["local"]["learning_rate"] = window, rate
        evals = folders.evals(points=3, updates=2)
        evals["accuracy"] = np.repeat([0.1, 0.8 if np.isfinite(time_s) else 0.1, final], 2)
        evals["time_s"] = np.repeat([0.0, time_s if np.isfinite(time_s) else 1.0, 100.0], 2)
        folders.write(tmp_path / str(i), settings=settings, eval_rows=evals)
    return compare_runs([load(folder) for folder in sorted(tmp_path.iterdir())], target=0.8)


def test_profiles_take_the_fastest_configuration_of_each_optimizer_on_each_workload(tmp_path):
    plan = {
        ("adag", 4, 10, 0.1): (8.0, 0.9),
        ("adag", 4, 10, 0.01): (4.0, 0.9),
        ("agn", 4, 10, 0.1): (2.0, 0.9),
        ("adag", 8, 10, 0.1): (3.0, 0.9),
        ("agn", 8, 10, 0.1): (np.inf, 0.5),
        ("agn", 16, 10, 0.1): (1.0, 0.9),  # alone: no workload to compare on
    }
    found = profiles(cells(grid(tmp_path, plan).parts))
    assert found.optimizers == ["adag", "agn"]
    assert sorted(map(tuple, found.costs.tolist())) == [(3, np.inf), (4, 2)]
    table = found.table().set_index("optimizer")
    assert table.loc["adag", "score"] == pytest.approx((1 + 2 / 3) / 2)
    assert table.loc["agn", "score"] == pytest.approx(1 / 2)
    assert table["reached_share"].tolist() == [1, 0.5]
    assert table["fastest_share"].tolist() == [0.5, 0.5]
    assert table["settings"].tolist() == [2, 1]


def test_an_optimizer_that_did_not_run_did_not_arrive(tmp_path):
    plan = {(name, n, 10, 0.1): (1.0, 0.9) for name in ("adag", "agn") for n in (4, 8)}
    table = grid(tmp_path, plan | {("aeasgd", 4, 10, 0.1): (0.5, 0.9)}).profile.set_index("optimizer")
    assert (table.loc["aeasgd", "ran"], table.loc["aeasgd", "workloads"]) == (1, 2)
    assert table.loc["aeasgd", "score"] == 0.5
    assert table["score"].max() <= 1


def test_profile_without_a_shared_workload_is_empty(tmp_path):
    found = grid(tmp_path, {("adag", 4, 10, 0.1): (1.0, 0.9), ("agn", 8, 10, 0.1): (1.0, 0.9)})
    assert len(found.profile) == 0
    assert len(found.sensitivity) == 0


def test_sensitivity_counts_what_is_close_to_the_best(tmp_path):
    finals = {(0.1, 10): 1.0, (0.1, 20): 0.996, (0.01, 10): 0.991, (0.01, 20): 0.5}
    plan = {("adag", 4, window, rate): (1.0, final) for (rate, window), final in finals.items()}
    (row,) = grid(tmp_path, plan).sensitivity.to_dict("records")
    assert (row["settings"], row["best"], row["best_setting"]) == (4, 1.0, "learning_rate=0.1 window=10")
    assert [row[f"within_{x}"] for x in (0.005, 0.01, 0.05)] == [0.5, 0.75, 0.75]


def test_each_number_of_workers_is_a_grid_of_its_own(tmp_path):
    plan = {("adag", n, 10, rate): (1.0, 0.9) for n in (4, 8) for rate in (0.1, 0.01)}
    found = grid(tmp_path, plan)
    assert found.sensitivity["grid"].tolist() == ["workers=4", "workers=8"]
    ((each, rows),) = found.parts
    assert [members["learning_rate"].tolist() for _, _, members in grids(each, rows)] == [[0.01, 0.1]] * 2


def test_metric_over_workers_and_windows_is_the_best_of_other_settings(tmp_path):
    plan = {("adag", n, w, 0.1): (1.0, n / 10) for n in (4, 8) for w in (5, 10)}
    plan |= {("adag", 4, 5, 0.01): (1.0, 0.95), ("agn", 4, 5, 0.1): (1.0, 0.5)}
    ((each, rows),) = grid(tmp_path, plan).parts
    tables = over_grid(each, rows)
    assert list(tables) == ["adag"]
    np.testing.assert_allclose(tables["adag"], [[0.95, 0.4], [0.8, 0.8]])
    assert (tables["adag"].index.tolist(), tables["adag"].columns.tolist()) == ([4, 8], [5, 10])


def test_leading_is_the_fastest_of_each_optimizer(tmp_path):
    plan = {("adag", 4, 5, 0.1): (3.0, 0.9), ("adag", 4, 10, 0.1): (2.0, 0.9), ("agn", 4, 10, 0.1): (9.0, 0.9)}
    ((each, rows),) = grid(tmp_path, plan).parts
    assert [c.label for c in leading(each, rows)] == ["adag window=10", "agn"]
