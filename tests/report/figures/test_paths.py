"""Paths on functions of the plane: what runs record of them, the figure and the animation."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

import distopt
from distopt.commands import plot
from distopt.errors import ResultsError
from distopt.report.comparison.grouping import group
from distopt.report.figures import animation, paths
from distopt.report.figures.paths import Moves, pushes, windows
from distopt.report.figures.plots import plot_run
from distopt.runs.results import Run, load
from scripts.tools import folders
from tests.commands.test_report_commands import call

BEALE = {"name": "beale", "start": [1.0, 1.5], "noise": 0.0}
SLOW = {"name": "stragglers", "stragglers": {"chance": 0.0, "factor": 5.0, "workers": [1]}}
#: worker 1 takes as long as two windows of worker 0; nothing was evaluated after update 3
COMMITS = {"update": [1, 2, 3, 4], "worker": [0, 0, 1, 1], "time_s": [1.0, 2.0, 2.0, 4.0]}
POINTS = {"start_x0": [1.0, 1.1, 1.0, 1.2], "start_x1": 1.5, "end_x0": [1.2, 1.4, 1.5, 1.6], "end_x1": 1.0}
EVALS = {"update": [0, 1, 2, 4], "time_s": [0.0, 1.0, 2.0, 4.0], "x0": [1.0, 1.1, 1.2, 1.4], "x1": [1.5, 1.4, 1.3, 1.1]}


def write(folder: Path, optimizer: str = "downpour", **tables: pd.DataFrame) -> Run:
    settings = folders.config(optimizer, workers=2, model=BEALE, dataset={"name": "none"}, cluster=SLOW)
    rows = folders.commits(workers=2, updates=4).assign(**COMMITS, **POINTS)
    evals = folders.evals().head(4).assign(**EVALS, split="train", accuracy=np.nan)
    return load(folders.write(folder, settings=settings, **{"commit_rows": rows, "eval_rows": evals} | tables))


def beale(folder: Path, *overrides: str) -> Run:
    """A real run of asynchronous Downpour in which worker 3 straggles."""
    slow = ["cluster=stragglers", "cluster.stragglers.workers=[3]", "optimizer=downpour", "workers=4"]
    problem = ["model=beale", "model.start=[1,1.5]", "dataset=none", "local=sgd", "local.learning_rate=0.001"]
    ends = ["stop.updates=30", "evaluate.every=1", "launcher=sim", f"output={folder}"]
    return distopt.run([*problem, *slow, *ends, *overrides])


@pytest.mark.parametrize("width", ["null", "1"])
def test_a_run_records_where_windows_opened_and_ended(tmp_path: Path, width: str) -> None:
    run = beale(tmp_path, f"launcher.width={width}")
    centers = run.evals[["x0", "x1"]].to_numpy()
    start = run.commits[["start_x0", "start_x1"]].to_numpy()
    end = run.commits[["end_x0", "end_x1"]].to_numpy()
    np.testing.assert_allclose(np.diff(centers, axis=0), end - start, atol=1e-5)  # Downpour adds what a window did
    pulled = run.commits["update"] - 1 - run.commits["staleness"]
    np.testing.assert_allclose(start, centers[pulled], atol=1e-6)
    assert np.abs(end - start).min() > 0


def test_only_functions_of_the_plane_have_paths(tmp_path: Path) -> None:
    digits = load(folders.write(tmp_path / "digits"))
    line = write(tmp_path / "line", eval_rows=write(tmp_path / "a").evals.drop(columns="x1"))
    space = write(tmp_path / "space", eval_rows=write(tmp_path / "b").evals.assign(x2=0.0))
    assert [paths.drawable(run) for run in (digits, line, space)] == [False] * 3
    names = {path.name for path in plot_run(write(tmp_path / "beale"), tmp_path / "plots")}
    assert {"paths.png", "paths.svg"} < names


def test_a_window_begins_when_its_worker_adopted(tmp_path: Path) -> None:
    moves = windows(write(tmp_path / "a"))
    assert [moves[worker].began_s.tolist() for worker in (0, 1)] == [[0.0, 1.0], [0.0, 2.0]]
    assert moves[1].points.tolist() == [[[1.0, 1.5], [1.5, 1.0]], [[1.2, 1.5], [1.6, 1.0]]]


def test_a_push_needs_evaluations_on_both_sides_and_an_update_of_its_own(tmp_path: Path) -> None:
    run = write(tmp_path / "a")
    assert pushes(run, {0}).points.tolist() == [[[1.0, 1.5], [1.1, 1.4]], [[1.1, 1.4], [1.2, 1.3]]]
    assert pushes(run, {0}).ended_s.tolist() == [1.0, 2.0]
    assert len(pushes(run, {1}).points) == 0
    barrier = write(tmp_path / "b", commit_rows=run.commits.assign(update=[1, 2, 1, 2]))
    assert len(pushes(barrier, {0}).points) == 0
    dropped = run.commits.assign(update=[1, 2, 2, 3], accepted=[1, 1, 0, 1])
    assert len(pushes(write(tmp_path / "c", commit_rows=dropped), {0}).points) == 2


def test_the_figure_marks_the_straggler_and_shows_all_runs_on_one_square(tmp_path: Path) -> None:
    runs = [write(tmp_path / name, name) for name in ("adag", "downpour")]
    figure = paths.paths_figure(group(runs)[0].configurations)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["adag", "downpour"]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    axes = figure.axes[0]
    x, y = axes.get_xlim(), axes.get_ylim()
    assert x[1] - x[0] == pytest.approx(y[1] - y[0])
    assert x[0] < 1.0 < 3.0 < x[1]  # start and minimum are inside
    assert y[0] < 0.5 < 1.5 < y[1]
    red = [c for c in axes.collections if len(c.get_edgecolor()) and tuple(c.get_edgecolor()[0]) == to_rgba("#CC3311")]
    assert [len(lines.get_segments()) for lines in red] == [2, 0]  # its windows, its pushes
    assert any("straggler" in text.get_text() for text in figure.legends[0].get_texts())


def test_a_run_that_left_the_picture_does_not_decide_its_limits(tmp_path: Path) -> None:
    run = write(tmp_path / "a")
    wild = write(tmp_path / "b", eval_rows=run.evals.assign(x0=[1.0, 1e9, np.nan, np.nan]))
    ground = paths.scene(BEALE)
    assert paths.limits(ground, [wild])[1] < 10
    assert paths.limits(ground, [run])[1] == pytest.approx(1.2 * 2)  # from the start at x = 1 to the minimum at 3


def test_the_function_is_that_of_the_run() -> None:
    ground = paths.scene({"name": "quadratic", "start": [1.0, 1.0], "curvatures": [2.0, 4.0], "noise": 5.0})
    assert ground.function(np.array([[1.0, 1.0], [0.0, 2.0]])).tolist() == [3.0, 8.0]
    assert ground.minimum.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("now", "to"), [(0.0, 0.0), (1.0, 0.5), (2.0, 2.0), (3.0, 3.0), (9.0, 4.0)])
def test_workers_cross_their_windows_evenly(now: float, to: float) -> None:
    points = np.array([[[0.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [4.0, 0.0]]])
    moves = Moves(np.array([0.0, 2.0]), np.array([2.0, 4.0]), points)
    whence, where = animation.under_way(moves, now)
    assert (whence[0], where[0]) == (0.0 if now < 2 else 2.0, to)


def test_the_animation_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(animation, "FRAMES", 4)
    for name in ("adag", "downpour"):
        write(tmp_path / name, name)
    assert call(plot, tmp_path, "--animate", "--metric", "loss") == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "plots" / "paths.gif")
    with Image.open(tmp_path / "plots" / "paths.gif") as gif:
        assert gif.n_frames == 4  # equal ones would have been joined


def test_without_a_path_there_is_no_animation(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    digits = folders.write(tmp_path / "digits")
    with pytest.raises(ResultsError, match="model=beale"):
        animation.animate([load(digits)], tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
    assert call(plot, digits, "--animate", "--metric", "loss") == 1
    assert "model=beale" in capsys.readouterr().err
