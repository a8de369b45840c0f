from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt import cli
from distopt.records import ACCURACY
from distopt.report.comparison.compare import efficiency_matrix
from distopt.report.comparison.grouping import group
from distopt.report.figures.curves import convergence_figure
from distopt.report.figures.heatmap import efficiency_figure
from distopt.report.figures.histograms import staleness_figure
from distopt.report.figures.plots import plot_run, plot_runs
from distopt.report.figures.style import color, marker
from distopt.runs.results import load
from scripts.tools import folders


@pytest.fixture
def configurations(tmp_path):
    """Downpour and adag with two seeds each; one more adag run that diverged."""
    for name in ("downpour", "adag"):
        for seed in (0, 1):
            folders.write(tmp_path / f"{name}-{seed}", settings=folders.config(name, seed=seed))
    evals = folders.evals()
    evals.loc[evals.index[-4:], ["loss", "accuracy"]] = [1e9, 0.1]
    evals.loc[evals.index[-2:], ["loss", "accuracy"]] = np.nan
    settings, facts = folders.config("adag", seed=2), folders.info("diverged")
    folders.write(tmp_path / "adag-2", settings=settings, facts=facts, eval_rows=evals)
    (each,) = group([load(folder) for folder in sorted(tmp_path.iterdir())])
    return each.configurations


def test_convergence_has_a_panel_per_metric_and_a_line_per_configuration_and_split(configurations):
    figure = convergence_figure(configurations)
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy", "loss"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "virtual time (s)"
        means = [line for line in axes.lines if str(line.get_label()).endswith(("(validation)", "(train)"))]
        assert sorted(line.get_linestyle() for line in means) == ["-", "-", "--", "--"]
        assert sum("diverged" in str(line.get_label()) for line in axes.lines) == 2
        assert len(axes.collections) == 2  # a band over seeds for each optimizer
    (legend,) = figure.legends
    assert [entry.get_text() for entry in legend.get_texts()] == ["adag", "downpour"]
    keys = [entry.get_text() for entry in figure.axes[0].get_legend().get_texts()]
    assert keys == ["validation", "train", "diverged"]
    assert "digits" in figure.get_supxlabel()


def test_a_diverged_run_does_not_decide_the_scale(configurations):
    assert convergence_figure(configurations).axes[1].get_ylim()[1] < 10


@pytest.mark.parametrize(
    ("x", "end", "label"),
    [
        ("updates", 200, "updates"),
        ("samples", 64000, "samples"),
        ("bytes", 800_000, "data sent"),
        ("epochs", 64, "epochs"),
    ],
)
def test_any_axis(configurations, x, end, label):
    (axes,) = convergence_figure(configurations, x, ["accuracy"]).axes
    assert axes.lines[0].get_xdata()[-1] == end
    assert label in axes.get_xlabel()


def test_a_function_without_accuracy_gets_one_panel(tmp_path):
    evals = folders.evals().assign(accuracy=np.nan)
    run = load(folders.write(tmp_path / "a", eval_rows=evals[evals["split"] == "train"]))
    (axes,) = convergence_figure(group([run])[0].configurations).axes
    assert axes.get_ylabel() == "loss"
    assert axes.lines[0].get_linestyle() == "-"


def test_staleness_has_a_normalised_panel_per_configuration(configurations):
    figure = staleness_figure(configurations)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["adag", "downpour"]
    for axes in figure.axes:
        assert axes.patches[0].get_data().values.sum() == pytest.approx(1)
        assert axes.lines[0].get_xdata()[0] == 3  # n - 1
        assert "mean" in axes.texts[0].get_text()


def test_efficiency_is_annotated(configurations):
    matrix = efficiency_matrix(configurations, ACCURACY, "validation").to_numpy()
    axes = efficiency_figure(configurations, matrix, "validation accuracy").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["adag", "downpour"]
    assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in matrix.flat]
    assert matrix[0, 1] > 1


def test_files_of_a_run_are_reproducible(tmp_path):
    run = load(folders.write(tmp_path / "a"))
    paths = plot_run(run, tmp_path / "plots")
    names = {path.name for path in paths}
    assert names == {"loss_accuracy.png", "loss_accuracy.svg", "staleness.png", "staleness.svg"}
    content = {path: path.read_bytes() for path in paths}
    plot_run(run, tmp_path / "plots")
    assert all(path.read_bytes() == before for path, before in content.items())


def test_runs_that_cannot_be_compared_get_figures_of_their_own(tmp_path):
    runs = [load(folders.write(tmp_path / str(n), settings=folders.config(batch_size=n))) for n in (32, 64)]
    names = {path.stem for path in plot_runs(runs, tmp_path / "plots", "updates", ["loss"])}
    drawn = ("convergence_updates", "staleness", "distance", "timeline")
    assert names == {f"{name}_{i}" for name in drawn for i in (1, 2)}


def test_a_run_that_failed_before_its_first_commit_can_be_drawn(tmp_path):
    empty = {"commit_rows": folders.commits(updates=0), "eval_rows": folders.evals().head(0)}
    run = load(folders.write(tmp_path / "a", facts=folders.info("failed"), **empty))
    assert len(plot_run(run, tmp_path / "plots")) == 4


def test_an_optimizer_has_the_same_look_everywhere_and_its_variants_differ():
    names = [path.stem for path in (Path(distopt.__file__).parent.parent / "conf" / "optimizer").glob("*.yaml")]
    assert len({(color(name), marker(name)) for name in names}) == len(names)
    assert color("a new rule") == color("a new rule", 0, 3)
    assert len({color("adag", i, 4) for i in range(4)}) == 4
    assert len({marker("adag", i) for i in range(8)}) == 8


@pytest.mark.parametrize("status", ["done", "diverged"])
def test_losses_that_are_infinite_throughout_leave_an_empty_panel(tmp_path, status):
    evals = folders.evals().assign(loss=np.inf)
    folders.write(tmp_path / "run", facts=folders.info(status), eval_rows=evals)
    assert len(plot_run(load(tmp_path / "run"), tmp_path / "plots")) == 4


def test_a_run_alone_in_its_folder_has_each_figure_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders.write(tmp_path / "a")
    assert cli.main(["plot", str(tmp_path / "a")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(set(printed))
    assert {Path(line).name for line in printed} >= {"staleness.png", "loss_accuracy.png", "convergence_time.png"}
