import argparse
import json

import hydra
import numpy as np
import pandas as pd
import pytest
import yaml

from distopt.cluster import Cluster, Law, Link, Workload, schedule
from distopt.cluster.calibrate import Calibration, calibrate, to_yaml
from distopt.commands import calibrate as command
from distopt.config import compose
from distopt.errors import ResultsError
from distopt.metrics.convergence import Curve
from distopt.report.figures.calibration import differences, errors, relative_error, total_variation
from distopt.rules import Synchrony
from distopt.runner import run as runner
from distopt.runs.results import load
from scripts.tools import folders

NOISY = Cluster(step=Law(0.01, "gamma", 0.3), server=Law(0.005, "gamma", 0.4), up=Link(0.004), down=Link(0.002))


def commits(cluster: Cluster, quorum: int = 1, windows: int = 100, workers: int = 8) -> pd.DataFrame:
    """The commits of a schedule as a run's folder holds them."""
    load = Workload(workers, 10, np.full(workers, 10 * windows), Synchrony(quorum))
    rows = [
        {"update": number, "time_s": update.time_s, **commit._asdict()}
        for number, update in enumerate(schedule(cluster, load), start=1)
        for commit in update.commits
    ]
    return pd.DataFrame(rows)


def call(*arguments) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def real(tmp_path):
    """The folder of a run that looks as if it came from real processes."""
    settings = folders.config(launcher={"name": "ray"})
    return folders.write(tmp_path / "real", settings=settings, facts=folders.info(clock="wall"))


@pytest.mark.parametrize(
    ("cluster", "quorum"),
    [
        (NOISY, 1),
        (NOISY._replace(server=Law(0.02, "gamma", 0.4)), 1),  # commits queue nearly all the time
        (NOISY, 8),
    ],
    ids=["idle", "saturated", "barrier"],
)
def test_a_known_cluster_is_found_again(cluster, quorum):
    found = calibrate(commits(cluster, quorum))
    assert found.step.seconds == pytest.approx(0.01, rel=0.02)
    assert found.step.cv == pytest.approx(0.3, rel=0.1)
    assert found.server.seconds == pytest.approx(cluster.server.seconds, rel=0.05)
    assert found.server.cv == pytest.approx(0.4, rel=0.15)
    assert found.latency_s == pytest.approx(0.006, rel=0.02)
    assert found.spread < 0.02


def test_fixed_times_are_found_exactly():
    fixed = Cluster(step=Law(0.01), server=Law(0.001), up=Link(0.003), down=Link(0.003), start_s=2.0)
    found = calibrate(commits(fixed, windows=10, workers=3))
    assert (found.step.law, found.server.law) == ("deterministic", "deterministic")
    assert found.step.seconds == pytest.approx(0.01)
    assert found.server.seconds == pytest.approx(0.001, rel=0.02)
    assert found.latency_s == pytest.approx(0.006, rel=0.02)
    assert found.start_s == pytest.approx(2.0, rel=1e-3)


def test_unequal_workers_are_told_from_chance():
    assert calibrate(commits(NOISY._replace(spread=0.5), workers=50, windows=30)).spread == pytest.approx(0.5, rel=0.25)


def test_what_the_server_did_not_record_still_occupies_it():
    frame = commits(NOISY._replace(server=Law(0.02)))
    found = calibrate(frame.assign(server_s=0.005))
    assert found.recorded_server_s == pytest.approx(0.005)
    assert found.server.seconds == pytest.approx(0.02, rel=0.02)


def test_slow_changes_are_no_variation_of_steps():
    frame = commits(NOISY._replace(step=Law(0.01)))
    drift = np.linspace(1, 3, len(frame))
    found = calibrate(frame.assign(compute_s=frame["compute_s"] * drift))
    assert found.step.seconds == pytest.approx(0.02, rel=0.05)
    assert found.step.cv < 0.05


@pytest.mark.parametrize("quorum", [1, 8])
def test_a_cluster_gives_back_the_time_it_was_measured_on(quorum):
    frame = commits(NOISY, quorum)
    again = commits(Cluster.from_settings(calibrate(frame).settings("again")), quorum)
    assert again["time_s"].iloc[-1] == pytest.approx(frame["time_s"].iloc[-1], rel=0.02)


def test_the_file_reads_back_as_the_same_cluster():
    found = Calibration(Law(0.01, "gamma", 0.3), Law(0.002), 0.1, 0.006, 1.0, 0.001, 0.02, 800)
    cluster = Cluster.from_settings(yaml.safe_load(to_yaml(found.settings("mine"), "a comment")))
    assert (cluster.name, cluster.step, cluster.server, cluster.spread) == ("mine", found.step, found.server, 0.1)
    assert (cluster.up.latency_s, cluster.down.latency_s, cluster.start_s) == (0.003, 0.003, 1.0)


def test_too_few_commits_are_refused():
    with pytest.raises(ResultsError, match=r"2 commits, 3 are needed"):
        calibrate(commits(NOISY, windows=2))


def test_missing_columns_are_named():
    with pytest.raises(ResultsError, match=r"compute_s, exchange_s"):
        calibrate(commits(NOISY).drop(columns=["compute_s", "exchange_s"]))


def test_hydra_finds_the_file(real, capsys):
    assert call(real) == 0
    assert f"--config-dir {real / 'calibration'} launcher=sim cluster=calibrated" in capsys.readouterr().out
    with hydra.initialize_config_dir(str(real / "calibration"), version_base="1.3"):
        group = hydra.compose(overrides=["+cluster=calibrated"]).cluster
    assert Cluster.from_settings(group).step.seconds == pytest.approx(0.03)


def test_the_name_is_that_of_the_file(real, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    assert call(real, "--output", path, "--format", "json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert yaml.safe_load(path.read_text()) == printed["cluster"]
    assert (printed["cluster"]["name"], printed["errors"]) == ("mine", None)


@pytest.mark.parametrize(
    ("launcher", "status", "words"), [("sim", "done", "launcher=sim"), ("ray", "failed", "the run is failed")]
)
def test_runs_that_measured_nothing_are_refused(tmp_path, launcher, status, words):
    settings = folders.config(launcher={"name": launcher})
    folder = folders.write(tmp_path / "run", settings=settings, facts=folders.info(status))
    with pytest.raises(ResultsError, match=words):
        call(folder)


def test_a_run_has_no_error_against_itself(real):
    run = load(real)
    assert errors(run, run)["error_percent"].tolist() == pytest.approx([0.0] * 10)


def test_errors_are_what_differs(real, tmp_path):
    slow = folders.write(
        tmp_path / "slow", commit_rows=folders.commits(step_s=0.2), eval_rows=folders.evals(step_s=0.2)
    )
    found = errors(load(real), load(slow)).set_index("quantity")["error_percent"]
    assert found["training time (s)"] == pytest.approx(100)
    assert found["staleness mean"] == found["staleness distribution"] == 0
    assert found["validation accuracy over time, largest"] > found["validation accuracy over time, mean"] > 0


def test_distances_between_distributions_and_curves():
    one, other = (pd.DataFrame({"staleness": values}) for values in ([0, 0, 1, 1], [1, 1, 1, 5]))
    assert total_variation(one, other) == pytest.approx(0.5)
    flat, rising = Curve(np.array([0.0, 4.0]), np.array([0.0, 0.0])), Curve(np.array([0.0, 2.0]), np.array([0.0, 1.0]))
    assert differences(flat, rising) == pytest.approx((1.0, 0.5))
    assert relative_error(0.0, 0.0) == 0
    assert np.isnan(relative_error(0.0, 1.0))


def test_virtual_time_repeats_the_run(tmp_path, capsys):
    overrides = ["launcher=sim", "model=booth", "dataset=none", "stop.updates=200", "cluster=ethernet_1g"]
    made = runner.run(
        compose([*overrides, "optimizer=downpour", "local=sgd", "local.learning_rate=0.0005", f"output={tmp_path}"])
    )
    (made.folder / "config.yaml").write_text(yaml.safe_dump(made.config | {"launcher": {"name": "ray"}}))
    assert call(made.folder, "--simulate", "--format", "json") == 0
    printed = json.loads(capsys.readouterr().out)
    found = {row["quantity"]: row["error_percent"] for row in printed["errors"]}
    assert abs(found["training time (s)"]) < 5
    assert found["updates"] == 0
    assert abs(found["staleness mean"]) < 5
    assert 0 <= found["train loss over time, mean"] < 10
    assert [path.rsplit(".")[-1] for path in printed["figures"]] == ["png", "svg"]
    assert (made.folder / "calibration" / "calibration.png").is_file()
