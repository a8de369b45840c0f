import json

import numpy as np
import pytest
from scipy import stats

from distopt.errors import ResultsError
from distopt.report.comparison.compare import compare, compare_runs
from distopt.runs.results import load
from scripts.tools import folders


def straight(slope: float, end: float = 10.0):
    """Validation and training accuracy grow as slope * time, evaluated every second."""
    evals = folders.evals(points=11, updates=10, step_s=end / 10)
    return evals.assign(accuracy=slope * evals["time_s"], loss=2 - slope * evals["time_s"])


def make(tmp_path, slopes, **facts):
    for name, per_seed in slopes.items():
        for seed, slope in enumerate(per_seed):
            folder = tmp_path / f"{name}-{seed}"
            settings = folders.config(name, seed=seed)
            folders.write(folder, settings=settings, eval_rows=straight(slope), facts=folders.info(**facts))
    return tmp_path


def test_rows_against_known_numbers(tmp_path):
    rows = compare([make(tmp_path, {"agn": [0.08, 0.08], "adag": [0.04, 0.04]})]).set_index("configuration")
    agn, adag = rows.loc["agn"], rows.loc["adag"]
    assert agn["target"] == pytest.approx(0.4)  # the best that both reached
    assert (agn["time_to_target_s"], adag["time_to_target_s"]) == (5, 10)
    assert (agn["te_target"], agn["te_area"]) == pytest.approx((2, 2))
    assert (adag["te_target"], adag["te_area"], adag["reference"]) == (1, 1, "adag")
    assert (agn["seeds"], agn["final"], agn["final_std"]) == (2, pytest.approx(0.8), 0)
    assert (agn["updates"], agn["samples_per_s"]) == (200, pytest.approx(64000 / 20))


def test_loss_is_better_when_smaller(tmp_path):
    rows = compare([make(tmp_path, {"agn": [0.08], "adag": [0.04]})], metric="loss", target=1.6, reference="adag")
    agn = rows.set_index("configuration").loc["agn"]
    assert agn["te_target"] == pytest.approx(2)
    assert agn["te_area"] == pytest.approx(18 / 16)
    assert np.isnan(agn["final_std"])


def test_half_of_the_seeds_not_reaching_the_target_is_not_hidden(tmp_path):
    rows = compare([make(tmp_path, {"agn": [0.08, 0.01], "adag": [0.08, 0.08]})], target=0.4)
    assert rows["time_to_target_s"].tolist() == [5, np.inf]
    assert rows["te_target"].tolist() == [1, 0]


@pytest.mark.parametrize("reference", ["agn", "agn-0", "folder"])
def test_reference_by_optimizer_run_or_folder(tmp_path, reference):
    make(tmp_path, {"agn": [0.08], "adag": [0.04]})
    rows = compare([tmp_path], reference=str(tmp_path / "agn-0") if reference == "folder" else reference)
    assert set(rows["reference"]) == {"agn"}


def test_reference_that_is_not_there_or_not_clear(tmp_path):
    make(tmp_path, {"agn": [0.08]})
    faster = {"name": "adam", "learning_rate": 0.01, "on_pull": "keep"}
    folders.write(tmp_path / "other", settings=folders.config("agn", local=faster))
    with pytest.raises(ResultsError, match=r"learning_rate=0.001.*learning_rate=0.01"):
        compare([tmp_path], reference="agn")
    with pytest.raises(ResultsError, match="dynsgd"):
        compare([tmp_path], reference="dynsgd")


def test_an_optimizer_on_several_workloads_is_the_reference_on_each(tmp_path):
    for workers in (4, 8):
        for name in ("agn", "adag"):
            settings = folders.config(name, workers=workers)
            folders.write(tmp_path / f"{name}-{workers}", settings=settings)
    folders.write(tmp_path / "alone", settings=folders.config("agn", workers=16))
    rows = compare([tmp_path], reference="adag").set_index("configuration")
    assert rows.loc["agn workers=4", "reference"] == "adag workers=4"
    assert rows.loc["agn workers=8", "reference"] == "adag workers=8"
    assert rows["reference"].isna().tolist() == [False, False, False, False, True]
    assert np.isnan(rows.loc["agn workers=16", "te_area"])
    assert set(compare([tmp_path], reference="adag workers=4")["reference"]) == {"adag workers=4"}
    assert compare([tmp_path]).equals(compare([tmp_path], reference="adag"))


def test_optimizers_with_windows_of_their_own_are_compared_on_each_workload(tmp_path):
    for workers in (4, 8):
        for name, window in (("adag", 10), ("downpour", 5)):
            settings = folders.config(name, workers=workers)
            settings["optimizer"]["window"] = window
            folders.write(tmp_path / f"{name}-{workers}", settings=settings)
    rows = compare([tmp_path]).set_index("configuration")
    for label, base in rows["reference"].items():
        assert str(base).startswith("adag")
        assert ("workers=4" in label) == ("workers=4" in base)


def test_one_optimizer_is_compared_with_its_first_configuration(tmp_path):
    for workers in (4, 8):
        folders.write(tmp_path / str(workers), settings=folders.config(workers=workers))
    assert set(compare([tmp_path])["reference"]) == {"adag workers=4"}


def test_intervals_over_seeds(tmp_path):
    slopes = {"agn": [0.06, 0.07, 0.08, 0.07, 0.07], "adag": [0.05, 0.06, 0.06, 0.05, 0.04]}
    agn = compare([make(tmp_path, slopes)], reference="adag").set_index("configuration").loc["agn"]
    finals = 10 * np.array(slopes["agn"])
    low, high = stats.t.interval(0.95, 4, finals.mean(), stats.sem(finals))
    assert (agn["final_low"], agn["final_high"]) == pytest.approx((low, high))
    test = stats.ttest_rel(finals, 10 * np.array(slopes["adag"]))
    assert (agn["difference"], agn["p_value"]) == pytest.approx((0.18, test.pvalue))
    assert agn["difference_low"] == pytest.approx(test.confidence_interval().low)
    logs = np.log(np.array(slopes["agn"]) / np.array(slopes["adag"]))
    ends = np.exp(stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs)))
    assert (agn["te_area_low"], agn["te_area_high"]) == pytest.approx(tuple(ends))
    assert agn["te_target_low"] < agn["te_target"] < agn["te_target_high"]
    assert agn["time_to_target_s_low"] <= agn["time_to_target_s"] <= agn["time_to_target_s_high"]


def test_a_single_seed_has_no_interval(tmp_path):
    rows = compare([make(tmp_path, {"agn": [0.08], "adag": [0.04]})])
    ends = [column for column in rows if column.endswith(("_low", "_high"))]
    assert len(ends) == 16
    assert rows[[*ends, "p_value"]].isna().all(axis=None)
    assert rows["final"].notna().all()


def test_different_seeds_are_compared_without_an_interval(tmp_path):
    make(tmp_path, {"agn": [0.08, 0.07]})
    for seed in (8, 9):
        folders.write(tmp_path / str(seed), settings=folders.config(seed=seed), eval_rows=straight(0.04))
    agn = compare([tmp_path], reference="adag").set_index("configuration").loc["agn"]
    assert agn["te_area"] == pytest.approx(np.sqrt(2 * 1.75))
    assert np.isnan(agn[["te_area_low", "te_target_low", "difference", "p_value"]].astype(float)).all()


def test_a_target_nobody_reaches(tmp_path):
    rows = compare([make(tmp_path, {"agn": [0.08, 0.07], "adag": [0.04, 0.04]})], target=0.99)
    assert rows["success_rate"].tolist() == [0, 0]
    assert np.isinf(rows["time_to_target_s"]).all()
    assert rows["te_target"].isna().all()


def test_a_run_that_broke_off_counts_for_the_target_but_not_for_the_final_value(tmp_path):
    make(tmp_path, {"agn": [0.08, 0.08]})
    for seed, status in ((2, "interrupted"), (3, "diverged")):
        settings, facts = folders.config("agn", seed=seed), folders.info(status)
        folders.write(tmp_path / status, settings=settings, eval_rows=straight(0.02), facts=facts)
    (agn,) = compare([tmp_path], target=0.8).to_dict("records")
    assert agn["status"] == "diverged 1, done 2, interrupted 1"
    assert agn["final"] == pytest.approx((0.8 + 0.8 + 0.2) / 3)
    assert agn["success_rate"] == 0.5
    assert (agn["time_to_target_s"], agn["time_to_target_s_low"]) == (np.inf, 10)


def test_runs_that_broke_off_stay_but_give_no_efficiency(tmp_path):
    make(tmp_path, {"agn": [0.08]})
    make(tmp_path, {"adag": [0.1]}, status="diverged")
    rows = compare([tmp_path]).set_index("configuration")
    assert rows.loc["adag", "status"] == "diverged"
    assert np.isnan(rows.loc["adag", "te_area"])
    assert rows.loc["agn", "target"] == pytest.approx(0.8)
    assert rows.loc["adag", "reference"] == "agn"


def test_no_finished_run_and_no_records(tmp_path):
    facts = folders.info("failed")
    folders.write(tmp_path / "a", facts=facts, eval_rows=straight(0.1).head(0), commit_rows=folders.commits(updates=0))
    (row,) = compare([tmp_path]).to_dict("records")
    assert row["status"] == "failed"
    assert np.isnan([row[key] for key in ("target", "final", "time_to_target_s", "te_target")]).all()


def test_an_analytic_function_is_compared_by_its_loss(tmp_path):
    evals = straight(0.1)
    evals = evals[evals["split"] == "train"].assign(accuracy=np.nan)
    folders.write(tmp_path / "a", settings=folders.config(dataset={"name": "none"}), eval_rows=evals)
    (row,) = compare([tmp_path]).to_dict("records")
    assert (row["metric"], row["final"]) == ("train loss", pytest.approx(1))


def test_matrix_is_antisymmetric_and_empty_between_groups(tmp_path):
    make(tmp_path, {"agn": [0.08, 0.06], "adag": [0.04, 0.05]})
    folders.write(tmp_path / "other", settings=folders.config("agn", batch_size=64))
    matrix = compare_runs([load(folder) for folder in sorted(tmp_path.iterdir())]).matrix.to_numpy()
    np.testing.assert_allclose((matrix * matrix.T)[:2, :2], 1)
    np.testing.assert_array_equal(np.diag(matrix), 1)
    assert np.isnan(matrix[2, :2]).all()


def test_nothing_to_compare(tmp_path):
    with pytest.raises(ResultsError, match="no run"):
        compare([])
    with pytest.raises(ResultsError, match=str(tmp_path)):
        compare([tmp_path])


def test_a_metric_that_no_run_has_is_refused_with_those_they_have(tmp_path):
    folder = make(tmp_path, {"agn": [0.08]})
    with pytest.raises(ResultsError, match="metric=acc: these runs have no such metric; choose from accuracy, loss"):
        compare([folder], metric="acc")


def test_a_run_without_evaluations_changes_neither_metric_nor_the_others(tmp_path):
    make(tmp_path / "runs", {"agn": [0.08, 0.06]})
    before = compare([tmp_path / "runs"])
    empty = folders.write(
        tmp_path / "runs" / "early", settings=folders.config("agn", seed=-1 + 1), facts=folders.info("failed")
    )
    for name in ("evals.parquet", "commits.parquet"):
        (empty / name).unlink()
    (empty / "summary.json").unlink(missing_ok=True)
    for told in ({}, {"metrics": [{"name": "accuracy", "better": "higher"}, {"name": "loss", "better": "lower"}]}):
        info = json.loads((empty / "run.json").read_text()) | told
        (empty / "run.json").write_text(json.dumps(info))
        after = compare([tmp_path / "runs"])
        assert after["metric"].tolist() == before["metric"].tolist() == ["validation accuracy"]
        assert after["final"].tolist() == before["final"].tolist()


def test_runs_from_before_a_setting_are_of_its_default(tmp_path):
    """An earlier `mlp` has neither activation nor norm in its configuration."""
    folders.write(tmp_path / "old", settings=folders.config("agn"))
    new = {"name": "mlp", "hidden": [64], "activation": "relu", "norm": "none", "dropout_input": 0.0}
    folders.write(tmp_path / "new", settings=folders.config("agn", seed=1, model=new))
    assert compare([tmp_path])["seeds"].tolist() == [2]
