"""The report's content: answers, curves, settings and links, without a browser."""

import json
import re
from urllib.parse import unquote

import numpy as np
import pytest

from distopt.commands import report
from distopt.errors import ResultsError
from distopt.report import page as pages
from distopt.report.comparison.compare import compare_runs
from distopt.report.comparison.grouping import group
from distopt.report.page import series
from distopt.report.page.content import content, facets
from distopt.runs.results import load_all
from scripts.tools import folders
from tests.commands.test_report_commands import call
from tests.report.comparison.test_compare import straight


def answers(folder, **options):
    """First to the target, margin, worker counts, most accurate, failures."""
    found = compare_runs(load_all([folder])[0], **options)
    return content(found, [], folder)["groups"][0]["answers"]


def make(folder, slopes):
    """One run per optimizer, worker count and seed, whose accuracy rises as slope * time."""
    for (name, workers), per_seed in slopes.items():
        for seed, slope in enumerate(per_seed):
            settings = folders.config(name, seed, workers)
            folders.write(folder / f"{name}-{workers}-{seed}", settings=settings, eval_rows=straight(slope))
    return folder


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1))


def test_the_first_by_how_much_and_how_sure(tmp_path):
    first, margin, workers, final, failed = answers(make(tmp_path, {("agn", 4): [0.08] * 6, ("adag", 4): [0.04] * 6}))
    assert first.sentence == "agn reaches a validation accuracy of 0.4 first."
    assert first.evidence == ["agn after 5.00 [5.00, 5.00] s, median of 6 seeds"]
    assert margin.sentence == "The first is 2 times as fast as the next; the interval excludes a tie."
    assert workers.sentence == "Cannot be told: there are only runs with workers=4."
    assert final.sentence == "agn ends at a validation accuracy of 0.8000."
    assert final.evidence[1].startswith("the best of the other optimizers, adag: 0.")
    assert failed.sentence == "Nothing: all 12 runs finished."


def test_few_seeds_and_one_seed_do_not_pretend(tmp_path):
    slopes = {("agn", 4): [0.08, 0.04, 0.05], ("adag", 4): [0.04, 0.05, 0.08]}
    margin = answers(make(tmp_path / "three", slopes))[1]
    assert margin.sentence.endswith("does not exclude a tie (with 3 seeds it covers 75 % at most).")
    margin = answers(make(tmp_path / "one", {("agn", 4): [0.08], ("adag", 4): [0.04]}))[1]
    assert "without repetitions" in margin.sentence


def test_whether_it_holds_at_other_worker_counts(tmp_path):
    same = {("agn", 4): [0.08], ("adag", 4): [0.04], ("agn", 16): [0.08], ("adag", 16): [0.04]}
    first, _, workers, *_ = answers(make(tmp_path / "same", same))
    assert first.sentence == "agn reaches a validation accuracy of 0.4 first in 2 of 2 settings."
    assert workers.sentence == "Yes: agn is first with 4 and 16 workers."
    first, _, workers, *_ = answers(make(tmp_path / "other", same | {("adag", 16): [0.1]}))
    assert workers.sentence == "No: which one is first changes with the number of workers."
    assert workers.evidence == ["4 workers: agn", "16 workers: adag"]


def test_a_window_that_only_some_ran_is_theirs(tmp_path):
    make(tmp_path, {("agn", 4): [0.04]})
    for window, slope in ((5, 0.05), (20, 0.1)):
        settings = folders.config("adag") | {"optimizer": {"name": "adag", "window": window}}
        folders.write(tmp_path / f"w{window}", settings=settings, eval_rows=straight(slope))
    first, margin, *_ = answers(tmp_path)
    assert first.sentence == "adag reaches a validation accuracy of 0.4 first."
    assert margin.sentence.startswith("The first is 2.5 times as fast")


def test_settings_that_one_optimizer_ran_alone_do_not_count(tmp_path):
    make(tmp_path, {("agn", 4): [0.08], ("agn", 16): [0.04]})
    alone = "Cannot be told: no two optimizers ran on the same setting."
    assert [each.sentence for each in answers(tmp_path)[:3]] == [alone] * 3
    make(tmp_path, {("adag", 4): [0.04]})
    assert answers(tmp_path)[0].sentence == "agn reaches a validation accuracy of 0.4 first."


def test_nobody_arrives_and_somebody_fails(tmp_path):
    make(tmp_path, {("agn", 4): [0.08], ("agn", 16): [0.04]})
    facts = folders.info("failed", reason="worker 1 was lost")
    folders.write(tmp_path / "lost", settings=folders.config("adag"), facts=facts, eval_rows=straight(0.01))
    folders.write(tmp_path / "more", settings=folders.config("adag", workers=16), eval_rows=straight(0.01))
    first, margin, workers, _, failed = answers(tmp_path, target=0.99)
    assert first.sentence == "None: no optimizer reaches a validation accuracy of 0.99 in half of its runs."
    assert "Cannot be told" in margin.sentence
    assert workers.sentence == "Cannot be told: none reaches the target with 4 and 16 workers."
    assert failed == ("What failed?", "1 of 4 runs did not finish.", ["lost: failed, worker 1 was lost"])


def test_no_run_has_finished(tmp_path):
    none = straight(0.1).head(0)
    folders.write(tmp_path / "a", facts=folders.info("failed"), eval_rows=none, commit_rows=folders.commits(updates=0))
    assert [each.sentence.split(":")[0] for each in answers(tmp_path)][:4] == ["Cannot be told"] * 4
    assert call(report, tmp_path, "--output", tmp_path / "page.html") == 0


def test_a_thinned_curve_keeps_its_ends_and_its_peaks():
    y = np.sin(np.linspace(0, 9, 5000))
    y[1234], y[4321] = 7, -7
    kept = series.thin(y, 100)
    assert len(kept) <= 100
    assert (kept[0], kept[-1]) == (0, 4999)
    assert {1234, 4321} <= set(kept.tolist())
    assert series.thin(y[:100], 100).tolist() == list(range(100))


def test_equal_arrays_are_sent_once(tmp_path):
    loaded, _ = load_all([folders.sweep(tmp_path, ["agn"], workers=(4, 16))])
    curves = series.Curves(group(loaded))
    first, second = (curves.over_axes([run]) for run in loaded)
    assert first == second
    assert len(curves.arrays) == 5 + 4  # an x per axis, a y per split and metric
    assert set(first["train loss"]["bytes"]) == {"x", "y"}
    assert set(curves.over_axes(loaded)["train loss"]["bytes"]) == {"x", "y", "low", "high"}


def test_settings_to_filter_by(tmp_path):
    folders.sweep(tmp_path, ["agn", "adag"], workers=(4, 16), windows=(5,))
    for gamma in (1, 2):
        settings = folders.config() | {"optimizer": {"name": "adag", "window": 5, "gamma": gamma}, "epochs": gamma}
        folders.write(tmp_path / f"gamma{gamma}", settings=settings)
    ((everything),) = group(load_all([tmp_path])[0])
    found = facets(everything.configurations)
    assert set(found) == {"epochs", "optimizer.gamma", "workers"}
    assert found["optimizer.gamma"] == ["1", "2", "null", "null", None, None]  # the last two are agn's
    assert found["workers"] == ["4", "4", "4", "16", "4", "16"]


def test_provenance_links_and_numbers_of_every_run(tmp_path):
    runs = folders.sweep(tmp_path / "odd #name%20&", ["agn"], workers=(4, 16))
    assert call(report, runs, "--output", tmp_path / "pages" / "page.html") == 0
    data = data_of((tmp_path / "pages" / "page.html").read_text())
    assert data["common"]["settings"]["model.hidden"] == "[64]"
    assert [run["settings"]["workers"] for run in data["runs"]] == ["4", "16"]
    for run in data["runs"]:
        assert re.fullmatch(r"\./[\w./%~-]+/", run["folder"])
        assert (tmp_path / "pages" / unquote(run["folder"]) / "evals.parquet").is_file()


def test_the_page_is_the_same_each_time_and_loads_nothing(tmp_path):
    found = compare_runs(load_all([folders.sweep(tmp_path, ["agn", "adag"])])[0])
    text = pages.render(found, [], tmp_path)
    assert text == pages.render(found, [], tmp_path)
    own = text[: text.index('<script type="application/json"')]
    assert set(re.findall(r'(?:src|href)="([^"#]*)', own)) == {"data:,", ""}  # an empty icon, and places in the page
    assert "default-src 'none'" in own


def test_names_and_settings_are_escaped(tmp_path):
    name = "</script><script>alert(1)</script>"
    folders.write(tmp_path / "run", settings=folders.config("agn", note=name))
    text = pages.render(compare_runs(load_all([tmp_path])[0]), [f"{name}: bad"], tmp_path)
    assert name not in text
    assert data_of(text)["common"]["settings"]["note"] == name


def test_bad_folders_are_named_counted_and_in_the_page(tmp_path, capsys):
    runs = folders.sweep(tmp_path / "runs", ["agn", "adag"])
    (folders.write(runs / "damaged", settings=folders.config("agn", 7)) / "commits.parquet").write_bytes(b"x")
    (runs / "half").mkdir()
    (runs / "half" / "run.json").write_text("{")
    assert call(report, runs) == 1
    printed = capsys.readouterr()
    assert printed.out.split() == [str(runs / "report.html")]
    assert "2 skipped, 2 in the report" in printed.err
    assert "2 paths were skipped" in (runs / "report.html").read_text()


def test_nothing_to_report_and_nowhere_to_write(tmp_path, capsys):
    assert call(report, tmp_path / "none", "--output", tmp_path / "page.html") == 1
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
    runs = folders.sweep(tmp_path / "runs", ["agn"])
    with pytest.raises(ResultsError, match="is a folder"):
        call(report, runs, "--output", tmp_path)
    with pytest.raises(ResultsError, match="cannot be written"):
        call(report, runs, "--output", runs / "agn-s0-n4-w10" / "run.json" / "page.html")
    with pytest.raises(ResultsError, match="reference=adag"):
        call(report, runs, "--reference", "adag")


def test_options_are_those_of_compare(tmp_path):
    runs = make(tmp_path, {("agn", 4): [0.08], ("adag", 4): [0.04]})
    call(report, runs, "--metric", "loss", "--split", "train", "--target", "1.7", "--reference", "agn")
    (only,) = data_of((runs / "report.html").read_text())["groups"]
    assert (only["metric"], only["target"]) == ("train loss", 1.7)
    assert [each["numbers"]["time_to_target_s"][0] for each in only["configurations"]] == [8, 4]


@pytest.mark.slow
def test_five_hundred_runs_stay_small(tmp_path):
    workers, windows = [2**i for i in range(10)], range(1, 11)
    loaded, problems = load_all([folders.sweep(tmp_path, workers=workers, windows=windows)])
    page = pages.write(compare_runs(loaded), problems, tmp_path / "page.html")
    assert (len(loaded), problems) == (500, [])
    assert page.stat().st_size < 15e6
    assert series.points_per_curve(single=0, bands=100) > 80  # of five seeds each
