import json

import numpy as np
import pytest

from distopt.errors import ResultsError
from distopt.files.lock import Lock
from distopt.runs.results import find, load, load_all, summarize
from scripts.tools import folders


def test_load_gives_back_what_was_written(tmp_path):
    run = load(folders.write(tmp_path / "a", settings=folders.config("agn", seed=3)))
    assert (run.optimizer, run.seed, run.status, run.finished) == ("agn", 3, "done", True)
    assert len(run.commits) == 200
    assert run.evals["split"].unique().tolist() == ["train", "validation"]
    assert run.summary["updates"] == 200


def test_summary_file_counts_where_there_is_one(tmp_path):
    folder = folders.write(tmp_path / "a")
    (folder / "summary.json").write_text(json.dumps({"updates": 7}))
    assert load(folder).summary == {"updates": 7}


def test_summarize_against_known_numbers():
    commits = folders.commits(workers=4, updates=200)
    evals = folders.evals()
    summary = summarize(commits, evals, folders.info(virtual_s=25.0, train_s=1.0, workers=5))
    known = {"updates": 200, "commits": 200, "samples": 64000, "epochs": 64, "time_s": 25, "samples_per_s": 2560}
    known |= {"bytes_up": 200_000, "bytes_down": 600_000, "server_busy": 0.2, "worker_wait": 0.25}
    assert {key: summary[key] for key in known} == pytest.approx(known)
    assert summary["commits_per_worker_min"] == 0  # the fifth worker never committed
    assert summary["staleness_mean"] == pytest.approx(commits["staleness"].mean())
    assert summary["distance_max"] == pytest.approx(0.01 * commits["staleness"].max())
    validation = evals[evals["split"] == "validation"]
    assert summary["validation_accuracy_best"] == validation["accuracy"].max()
    assert summary["validation_loss_final"] == validation["loss"].iloc[-1]
    json.dumps(summary, allow_nan=False)


def test_summarize_takes_the_wall_clock_of_a_wall_clock_run():
    commits, evals = folders.commits(), folders.evals()
    assert summarize(commits, evals, folders.info(clock="wall", train_s=8.0, virtual_s=99.0))["time_s"] == 8
    assert summarize(commits, evals, folders.info(clock="wall"))["time_s"] == pytest.approx(20)


def test_summarize_of_a_diverged_run_is_valid_json():
    evals = folders.evals()
    evals.loc[evals.index[-2:], ["loss", "accuracy"]] = np.nan
    summary = summarize(folders.commits(), evals, folders.info("diverged"))
    assert summary["validation_loss_final"] is None
    assert summary["validation_loss_best"] > 0
    json.dumps(summary, allow_nan=False)


def test_summarize_without_commits():
    summary = summarize(folders.commits(updates=0), folders.evals().head(0), folders.info("failed"))
    assert (summary["updates"], summary["samples"], summary["staleness_mean"]) == (0, 0, None)
    assert summary["samples_per_s"] is None


def test_find_orders_by_name_and_counts_each_run_once(tmp_path):
    for name in ("x/b", "y/a", "x/c"):
        folders.write(tmp_path / name)
    (tmp_path / "x/b/plots").mkdir()
    assert [folder.name for folder in find([tmp_path, tmp_path / "x/b"])] == ["a", "b", "c"]


@pytest.mark.parametrize("cut", [1.0, 0.999, 0.6])
def test_a_run_that_broke_off_is_read_up_to_its_last_complete_batch(tmp_path, cut):
    folder = folders.write(tmp_path / "a", facts=folders.info("running"))
    whole = folders.commits()
    (folder / "commits.parquet").unlink()
    path = folders.stream(folder / "commits.arrow", whole, batches=10)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    rows = len(load(folder).commits)
    assert rows % 20 == 0
    assert 80 <= rows <= 200
    assert load(folder).summary["commits"] == rows


def test_a_run_that_broke_off_before_its_first_record_is_empty(tmp_path):
    folder = folders.write(tmp_path / "a", facts=folders.info("failed"))
    for name in ("commits", "evals"):
        (folder / f"{name}.parquet").unlink()
    (folder / "commits.arrow").write_bytes(b"")
    run = load(folder)
    assert (len(run.commits), len(run.evals)) == (0, 0)


def damage(folder, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run.json", None),
        ("run.json", b'{"status": "do'),
        ("run.json", b"[]"),
        ("run.json", b'{"schema": 1}'),
        ("config.yaml", None),
        ("config.yaml", b"a: [1,"),
        ("config.yaml", b"\xff\xfe\x00"),
        ("evals.parquet", None),
        ("evals.parquet", b"PAR1 not parquet"),
        ("commits.parquet", b""),
    ],
)
def test_damage_is_named_and_the_other_runs_are_read(tmp_path, name, content):
    folders.write(tmp_path / "good")
    damage(folders.write(tmp_path / "bad"), name, content)
    runs, problems = load_all([tmp_path])
    assert [run.folder.name for run in runs] == ["good"]
    assert len(problems) == 1
    assert str(tmp_path / "bad" / name) in problems[0]


def test_missing_column_is_named(tmp_path):
    folder = folders.write(tmp_path / "a", eval_rows=folders.evals().drop(columns="split"))
    with pytest.raises(ResultsError, match="split"):
        load(folder)


def test_folders_without_a_run_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "sweep/abandoned").mkdir(parents=True)
    folders.write(tmp_path / "sweep/good")
    runs, problems = load_all([tmp_path / "empty", tmp_path / "sweep", tmp_path / "nowhere"])
    assert len(runs) == 1
    assert len(problems) == 3
    assert all(any(name in line for line in problems) for name in ("empty", "abandoned", "nowhere"))


def test_a_run_that_nobody_writes_any_more_is_interrupted(tmp_path):
    folder = folders.write(tmp_path / "a", facts=folders.info("running"))
    assert (load(folder).status, load(folder).info["reason"]) == ("interrupted", "its process is gone")
    lock = Lock(folder)
    assert load(folder).status == "running"
    lock.release()
    assert load(folder).status == "interrupted"
