import argparse
import json
import subprocess
import sys

import numpy as np
import pytest

from distopt import compare as comparison
from distopt.commands import compare, plot
from scripts.tools import folders


def call(command, *arguments) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def sweep(tmp_path):
    for name in ("agn", "adag"):
        for seed in (0, 1):
            folders.write(tmp_path / "sweep" / f"{name}-{seed}", settings=folders.config(name, seed=seed))
    return tmp_path / "sweep"


@pytest.mark.parametrize("format", ["table", "csv", "markdown", "latex"])
def test_compare_prints_a_row_per_configuration(sweep, capsys, format):
    assert call(compare, sweep, "--format", format) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.lstrip("| ,").startswith(("agn", "adag")) for line in lines) == 2


def test_compare_says_what_the_target_is(sweep, capsys):
    call(compare, sweep, "--target", "0.5", "--reference", "agn")
    assert (
        "validation accuracy, target >= 0.5; TE, SE: temporal and statistical efficiency over agn"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("format", ["table", "markdown", "latex"])
def test_compare_shows_intervals_and_all_columns_when_asked(sweep, capsys, format):
    call(compare, sweep, "--format", format)
    narrow = capsys.readouterr().out
    assert "±" in narrow or r"\pm" in narrow
    assert "samples/s" not in narrow
    call(compare, sweep, "--format", format, "--all")
    assert "samples/s" in capsys.readouterr().out


@pytest.mark.parametrize("status", ["diverged", "failed", "interrupted"])
@pytest.mark.parametrize("format", ["table", "csv", "markdown", "latex", "json"])
def test_a_run_without_a_result_is_in_every_table(sweep, capsys, format, status):
    settings, facts = folders.config("downpour"), folders.info(status)
    empty = {"commit_rows": folders.commits(updates=0), "eval_rows": folders.evals().head(0)}
    folders.write(sweep / "z", settings=settings, facts=facts, **empty)
    assert call(compare, sweep, "--format", format) == 0
    printed = capsys.readouterr().out
    assert "downpour" in printed
    assert status in printed


def test_compare_a_target_nobody_reaches(sweep, capsys):
    assert call(compare, sweep, "--target", "2") == 0
    printed = capsys.readouterr().out
    assert printed.count("∞ [∞, ∞]") == 2
    assert printed.count(" 0 %") == 2


@pytest.mark.parametrize(("table", "first"), [("profile", "optimizer,score"), ("sensitivity", "group,optimizer")])
def test_compare_over_a_grid(tmp_path, capsys, table, first):
    for name in ("agn", "adag"):
        for window in (5, 10):
            settings = folders.config(name) | {"optimizer": {"name": name, "window": window}}
            folders.write(tmp_path / f"{name}-{window}", settings=settings)
    assert call(compare, tmp_path, "--table", table, "--format", "csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(first)
    assert len(lines) == 3
    assert call(compare, tmp_path, "--table", table) == 0
    assert "workloads" in capsys.readouterr().out or table == "sensitivity"
    call(compare, tmp_path, "--format", "json")
    assert len(json.loads(capsys.readouterr().out)[table]) == 2


def test_compare_as_json(sweep, capsys):
    assert call(compare, sweep, "--format", "json", "--target", "2") == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (found["target"], found["reference"], found["problems"]) == (2, "adag", [])
    assert [row["time_to_target_s"] for row in found["rows"]] == ["inf", "inf"]
    assert [row["success_rate"] for row in found["rows"]] == [0, 0]
    assert all(row["final_low"] < row["final"] < row["final_high"] for row in found["rows"])
    assert found["temporal_efficiency"]["names"] == ["adag", "agn"]
    assert found["temporal_efficiency"]["matrix"][1][1] == 1
    (low, value, high) = (found["temporal_efficiency"][name][0][1] for name in ("low", "matrix", "high"))
    assert low < value < high


@pytest.mark.parametrize(
    ("format", "infinite", "missing"),
    [("csv", ",inf,", ",,"), ("json", ': "inf"', ": null"), ("markdown", "∞", "–"), ("latex", r"$\infty$", "--")],
)
def test_a_target_never_reached_is_no_missing_target(sweep, capsys, format, infinite, missing):
    """The reference never gets there, so the times and both efficiencies over it are infinite, in every format."""
    found = comparison([sweep], reference="adag").set_index("configuration")
    between = found["best"].mean()
    worse, better = found["best"].sort_values().index
    assert call(compare, sweep, "--format", format, "--target", str(between), "--reference", worse, "--all") == 0
    reached = capsys.readouterr().out
    rows = comparison([sweep], reference=worse, target=between).set_index("configuration")
    assert np.isinf([rows.loc[better, name] for name in ("te_target", "se_target")]).all()
    assert np.isinf([rows.loc[worse, name] for name in ("time_to_target_s", "updates_to_target")]).all()
    assert reached.count(infinite) >= 4
    assert call(compare, sweep, "--format", format, "--reference", worse, "--all") == 0
    assert capsys.readouterr().out.count(infinite) == 0
    assert reached.count(missing) > 0


def test_compare_names_the_setting_that_keeps_groups_apart(sweep, capsys):
    settings = folders.config("agn", batch_size=64)
    folders.write(sweep / "large", settings=settings, eval_rows=folders.evals("dynsgd"))
    assert call(compare, sweep) == 0
    assert "batch_size=64 (not comparable" in capsys.readouterr().out
    call(compare, sweep, "--format", "json")
    found = json.loads(capsys.readouterr().out)
    assert found["target"] is None
    assert [each["differs"] for each in found["groups"]] == [{"batch_size": "32"}, {"batch_size": "64"}]


def test_compare_shows_what_it_can_and_exits_with_an_error(sweep, capsys):
    (sweep / "agn-0" / "evals.parquet").write_bytes(b"")
    assert call(compare, sweep) == 1
    printed = capsys.readouterr()
    assert "agn" in printed.out
    assert "agn-0/evals.parquet" in printed.err
    assert "1 skipped, 3 compared" in printed.err


@pytest.mark.parametrize("format", ["table", "json"])
def test_compare_without_a_run(tmp_path, capsys, format):
    assert call(compare, tmp_path, "--format", format) == 1
    printed = capsys.readouterr()
    assert str(tmp_path) in printed.err
    if format == "json":
        assert json.loads(printed.out)["problems"]


def test_plot_writes_into_the_folder_and_into_each_run(tmp_path, capsys):
    for name in ("agn", "adag"):
        folders.write(tmp_path / name, settings=folders.config(name))
    assert call(plot, tmp_path) == 0
    printed = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "plots" / "convergence_time.svg") in printed
    assert (tmp_path / "agn" / "plots" / "loss_accuracy.png").is_file()
    assert (tmp_path / "plots" / "temporal_efficiency.png").is_file()


def test_plot_of_one_run_with_another_axis_into_another_folder(sweep, tmp_path):
    assert call(plot, sweep / "agn-0", "--x", "bytes", "--metric", "loss", "--output", tmp_path / "out") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    drawn = ("convergence_bytes", "staleness", "distance", "timeline")
    assert names == {f"{name}.{end}" for name in drawn for end in ("png", "svg")}


def test_plot_goes_on_without_the_run_it_cannot_read(tmp_path, capsys):
    folders.write(tmp_path / "good")
    bad = folders.write(tmp_path / "bad")
    (bad / "summary.json").write_text("{}")
    (bad / "commits.parquet").write_bytes(b"damaged")
    assert call(plot, tmp_path, "--metric", "loss") == 1
    printed = capsys.readouterr()
    assert "bad/commits.parquet" in printed.err
    assert str(tmp_path / "plots" / "convergence_time.png") in printed.out


def test_help_needs_no_heavy_import():
    code = "import sys, distopt.commands.compare, distopt.commands.plot\n"
    code += "print({'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
