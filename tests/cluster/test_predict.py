import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distopt import datasets
from distopt.cli import main
from distopt.cluster import Cluster, Law, Workload, predict
from distopt.config import compose, validate
from distopt.launchers.workload import workload_from_config
from distopt.rules import BARRIER, Synchrony

PUBLISHED = Path(__file__).parents[2] / "results" / "thesis" / "published" / "agn_vs_aeasgd.csv"


def command(capsys, *arguments):
    code = main(["predict", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_totals():
    load = Workload(3, 4, np.array([9, 8, 0]), bytes_up=10, bytes_down=7, batch_size=32)
    found = predict(Cluster(Law(1.0), start_s=2.0), load)
    assert (found["updates"], found["commits"], found["steps"], found["samples"]) == (5, 5, 17, 17 * 32)
    assert (found["bytes_up"], found["bytes_down"]) == (50, 35)
    assert found["time_s"] == 11
    assert found["worker_busy"] == pytest.approx(17 / (3 * 9))
    assert sum(found["staleness_histogram"]) == 5


def test_a_run_ends_at_the_first_of_its_limits():
    load = Workload(2, 1, np.array([10, 10]))
    assert predict(Cluster(Law(1.0)), load, updates=7)["updates"] == 7
    assert predict(Cluster(Law(1.0)), load, seconds=2.5)["time_s"] == 3
    assert predict(Cluster(Law(1.0)), load, updates=7, seconds=1)["updates"] == 1
    nothing = predict(Cluster(Law(1.0)), load._replace(steps=np.zeros(2, np.int64)))
    assert (nothing["time_s"], nothing["commits"], nothing["staleness_histogram"]) == (0, 0, [])


@pytest.mark.parametrize("optimizer", ["agn", "aeasgd"])
def test_the_thesis_preset_predicts_the_published_times(optimizer):
    published = pd.read_csv(PUBLISHED)
    cluster = Cluster.from_settings(compose(["cluster=thesis"]).cluster)
    errors = []
    for cell in published.to_dict("records"):
        steps = np.full(cell["workers"], -(-18_750 // cell["workers"]))
        found = predict(cluster, Workload(cell["workers"], cell["window"], steps))
        errors.append(abs(found["time_s"] / cell[f"{optimizer}_time_s"] - 1))
    assert len(errors) == 49
    assert np.median(errors) <= 0.05


def test_the_command_writes_json(capsys):
    arguments = ["workers=20", "cluster=thesis", "optimizer=agn", "optimizer.window=15", "batch_size=128"]
    size = ["--samples", "60000", "--parameters", "4798010"]
    code, out, err = command(capsys, *arguments, *size, "--format", "json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found.keys() >= {
        *("time_s", "updates", "staleness_mean", "server_busy", "worker_busy", "bytes_up", "bytes_down")
    }
    assert found["time_s"] == pytest.approx(571, rel=0.1)
    assert found["bytes_up"] == found["commits"] * 4 * 4_798_010


def test_the_command_writes_a_table_and_looks_at_the_data(capsys):
    code, out, _ = command(capsys, "workers=4", "optimizer=synchronous", "optimizer.window=1", "epochs=1")
    lines = dict(line.split(None, 1) for line in out.splitlines())
    assert code == 0
    assert lines["cluster"] == "homogeneous: step times gamma, cv 0.1"
    assert int(lines["commits"]) == 4 * int(lines["updates"])
    assert "staleness_histogram" not in lines


def test_more_workers_than_samples_can_be_predicted(capsys):
    code, out, _ = command(capsys, "workers=2000", "epochs=1", "--samples", "1500", "--format", "json")
    assert code == 0
    assert json.loads(out)["commits"] == 1500


def test_mistakes_end_with_their_names(capsys):
    code, _, err = command(capsys, "cluster.step.law=lognormal", "cluster.step.cv=0", "cluster.start_s=-1")
    assert code == 1
    assert "cluster.step.cv" in err
    assert "cluster.start_s=-1" in err
    code, _, err = command(capsys, "epochs=null", "stop.accuracy=0.9")
    assert code == 1
    assert "stop.updates" in err


def test_a_prediction_without_data_ends_by_updates(capsys):
    code, out, _ = command(capsys, "dataset=none", "model=beale", "stop.updates=50", "--format", "json")
    found = json.loads(out)
    assert (code, found["updates"], found["samples"]) == (0, 50, 0)
    assert found["bytes_up"] == 50 * 2 * 4


def test_the_workload_of_a_configuration():
    config = validate(compose(["workers=4", "optimizer=sequential", "epochs=2", "batch_size=10"]))
    load = workload_from_config(config, samples=1001, parameters=100)
    assert (load.workers, load.steps.tolist(), load.bytes_up) == (1, [201], 400)
    config = validate(compose(["workers=4", "optimizer=easgd", "epochs=1", "batch_size=10", "seed=3"]))
    load = workload_from_config(config, samples=42, parameters=100)
    assert load.steps.tolist() == [2, 2, 1, 1]
    assert load.synchrony == BARRIER
    assert (load.bytes_up, load.bytes_down, load.seed) == (400, 400, 3)


def test_a_late_start_is_no_failure_but_takes_its_bytes():
    load = Workload(3, 1, np.array([9, 4, 4]), bytes_up=10, bytes_down=7)
    plain, late = (
        predict(Cluster(Law(1.0)), each) for each in (load, load._replace(synchrony=Synchrony(start_after=5)))
    )
    assert (plain["failures"], late["failures"]) == (0, 0)
    assert late["bytes_down"] == plain["bytes_down"] + 2 * 7


@pytest.mark.parametrize("name", sorted(datasets.SIZES))
def test_a_prediction_needs_no_files_of_a_data_set_that_is_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(datasets, "load", lambda settings: pytest.fail("the data were loaded"))
    model = "mlp" if name in ("digits", "cifar10") else "mlp_thesis"
    load = workload_from_config(validate(compose([f"dataset={name}", f"model={model}", "workers=3", "epochs=3"])))
    assert load.steps.sum() >= 3 * datasets.SIZES[name].samples // 32


def test_the_known_size_of_the_digits_is_theirs() -> None:
    data = datasets.load({"name": "digits"})
    assert data
    assert datasets.Size(data.size, data.shape, data.classes) == datasets.SIZES["digits"]
