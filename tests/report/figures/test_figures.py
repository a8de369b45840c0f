"""Figures over a grid and of single runs: axes, labels, number of curves, and what they leave out."""

import numpy as np
import pandas as pd
import pytest

from distopt.report.comparison.compare import Comparison, compare_runs
from distopt.report.comparison.grid import cells, profiles
from distopt.report.comparison.grouping import group
from distopt.report.figures.curves import x_label
from distopt.report.figures.distances import distance_figure
from distopt.report.figures.factors import factors_figure, quantiles
from distopt.report.figures.heatmap import difference_figure, grid_figure
from distopt.report.figures.plots import MANY, plot_runs, save
from distopt.report.figures.profile import profile_figure, sensitivity_figure
from distopt.report.figures.scaling import scaling, scaling_figure
from distopt.report.figures.style import color
from distopt.report.figures.timeline import spans, timeline_figure
from distopt.runs.results import load
from scripts.tools import folders


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Comparison:
    """Two optimizers over three numbers of workers and two windows, two seeds each, and one lone optimizer."""
    folder = tmp_path_factory.mktemp("grid")
    for name in ("agn", "adag"):
        for workers in (2, 4, 8):
            for window in (5, 10):
                for seed in (0, 1):
                    settings = folders.config(name, seed=seed, workers=workers)
                    settings["optimizer"]["window"] = window
                    step_s = 0.4 / workers
                    tables = {"eval_rows": folders.evals(name, seed=seed, step_s=step_s)}
                    tables |= {"commit_rows": folders.commits(workers, seed=seed, step_s=step_s)}
                    folders.write(folder / f"{name}{workers}-{window}-{seed}", settings=settings, **tables)
    folders.write(folder / "lone", settings=folders.config("easgd", workers=4))
    return compare_runs([load(each) for each in sorted(folder.iterdir())], reference="agn", target=0.7)


def configurations(tmp_path, **tables):
    runs = [load(folders.write(tmp_path / name, settings=folders.config(name), **tables)) for name in ("adag", "agn")]
    return group(runs)[0].configurations


def test_scaling_has_a_curve_per_optimizer_and_the_line_of_linear_speed_up(found):
    (part,) = found.parts
    figure = scaling_figure(*part)
    left, right = figure.axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("workers", "time to target (s)")
    assert right.get_ylabel() == "speed-up over 2 workers"
    assert len(left.containers) == 2
    assert [line.get_label() for line in right.lines][-1] == "linear"
    assert right.lines[0].get_xdata().tolist() == [2, 4, 8]
    np.testing.assert_allclose(right.lines[0].get_ydata(), [1, 2, 4])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["adag", "agn"]


def test_scaling_where_the_target_is_not_reached(found):
    (each, rows) = found.parts[0]
    late = rows.assign(time_to_target_s=np.where(each_workers(each) == 2, np.inf, rows["time_to_target_s"]))
    curves = scaling(each, late)
    assert curves["adag"]["time"].tolist()[0] == np.inf
    np.testing.assert_allclose(curves["adag"]["speedup"], [0, 2, 4])
    crosses = [line for line in scaling_figure(each, late).axes[0].lines if line.get_marker() == "x"]
    assert sum(len(line.get_xdata()) for line in crosses) == 2


def test_scaling_where_nobody_arrives_or_everybody_at_once(found, tmp_path):
    (each, rows) = found.parts[0]
    never, at_once = ({f"time_to_target_s{end}": x for end in ("", "_low", "_high")} for x in (np.inf, 0.0))
    assert save(scaling_figure(each, rows.assign(**never)), tmp_path, "scaling")[0].is_file()
    assert scaling_figure(each, rows.assign(**at_once)) is None


def each_workers(each) -> np.ndarray:
    return np.array([c.runs[0].config["workers"] for c in each.configurations])


def test_maps_over_workers_and_windows(found):
    (part,) = found.parts
    figure = grid_figure(*part)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["adag", "agn"]
    assert panels[0].get_ylabel() == "workers"
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["2", "4", "8"]
    assert [label.get_text() for label in panels[1].get_xticklabels()] == ["5", "10"]
    assert len(panels[0].texts) == 6
    (title,) = [a.get_title(loc="left") for a in difference_figure(*part).axes if a.get_title(loc="left")]
    assert title == "adag − agn"  # the reference of the comparison


def test_profile_and_sensitivity(found):
    every = found.groups[0].configurations
    axes = profile_figure(profiles(cells(found.parts)), every).axes[0]
    assert len(axes.lines) == 3
    assert axes.lines[0].get_ydata()[-1] == 1
    assert axes.lines[0].get_label().startswith("adag (1.00)")
    windows, share = sensitivity_figure(*found.parts[0]).axes
    assert windows.get_xlabel() == "window (local steps)"
    assert (windows.get_ylabel(), share.get_ylabel()) == ("final validation accuracy", "share of the grid")
    assert len(share.lines) == 6  # two optimizers, three numbers of workers


def test_one_configuration_has_none_of_the_figures_over_a_grid(tmp_path):
    found = compare_runs([load(folders.write(tmp_path / "a"))])
    for draw in (scaling_figure, grid_figure, difference_figure, sensitivity_figure):
        assert draw(*found.parts[0]) is None
    assert profile_figure(profiles(cells(found.parts)), found.groups[0].configurations) is None


def test_many_configurations_are_drawn_by_their_leaders(found, tmp_path):
    runs = [run for each in found.groups for run in each.runs]
    assert len(found.rows) > MANY
    names = {path.stem for path in plot_runs(runs, tmp_path, "updates", ["accuracy"], reference="agn", target=0.7)}
    over_grid = {"grid", "grid_difference", "scaling", "sensitivity", "profile"}
    assert names == over_grid | {"convergence_updates", "staleness", "distance", "timeline", "temporal_efficiency"}
    assert "easgd" in (tmp_path / "convergence_updates.svg").read_text()


def test_distance_is_a_cumulative_share(tmp_path):
    axes = distance_figure(configurations(tmp_path)).axes[0]
    assert [line.get_label() for line in axes.lines] == ["adag", "agn"]
    assert axes.lines[0].get_ydata()[-1] == 1
    commits = folders.commits()
    np.testing.assert_allclose(axes.lines[0].get_ydata()[0], (commits["distance"] <= 0.01).mean(), atol=0.2)
    still = configurations(tmp_path / "still", commit_rows=commits.assign(distance=0.0))
    assert distance_figure(still) is None


def test_factors_over_time(tmp_path):
    commits = folders.commits(updates=120)
    assert factors_figure(configurations(tmp_path / "none")) is None
    scaled = commits.assign(scale_mean=0.9, scale_q05=np.linspace(0.2, 0.8, 120), scale_min=0.1)
    figure = factors_figure(configurations(tmp_path / "some", commit_rows=scaled))
    assert len(figure.axes) == 2
    assert [line.get_label() for line in figure.axes[0].lines] == ["mean", "5 % quantile", "minimum"]
    assert figure.axes[0].get_xlabel() == "virtual time (s)"
    binned = quantiles(scaled, bins=4)
    assert binned["scale_min"].tolist() == [0.1] * 4
    assert binned["scale_q05"].is_monotonic_increasing


def test_spans_of_a_worker_follow_one_another():
    rows = {"compute_s": [2.0, 3.0], "exchange_s": [0.0, 1.5], "time_s": [2.75, 6.75], "server_s": [0.25, 0.25]}
    compute, wait, exchange = spans(pd.DataFrame(rows))
    assert compute.tolist() == [[0, 2], [3.5, 3]]
    assert wait.tolist() == [[2, 0.5]]  # until the server begins at 2.75 - 0.25
    assert exchange.tolist() == [[2.5, 1]]


def test_timeline_has_a_panel_per_configuration_and_a_row_per_worker(tmp_path):
    figure = timeline_figure(configurations(tmp_path))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["adag", "agn"]
    for axes, name in zip(figure.axes, ("adag", "agn"), strict=True):
        assert len(axes.get_yticklabels()) == 4
        assert tuple(axes.collections[0].get_facecolor()[0][:3]) == color(name)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["compute", "wait", "exchange"]
    without = folders.commits().drop(columns="compute_s")
    assert timeline_figure(configurations(tmp_path / "old", commit_rows=without)) is None


def test_the_time_axis_says_whose_clock_it_is(tmp_path):
    virtual = load(folders.write(tmp_path / "v"))
    wall = load(folders.write(tmp_path / "w", facts=folders.info(clock="wall")))
    assert x_label("time", [virtual]) == "virtual time (s)"
    assert x_label("time", [wall]) == "wall-clock time (s)"
    assert x_label("time", [virtual, wall]) == "time (s)"
    assert x_label("epochs", [wall]) == "epochs"


def test_a_worker_that_starts_late_waits_and_exchanges_as_recorded():
    commits = pd.DataFrame(
        {"compute_s": [1.0, 1.0], "exchange_s": [0.0, 3.0], "time_s": [13.0, 18.0], "server_s": [1.0, 1.0]}
    )
    found = spans(commits)
    assert found.compute.tolist() == [[9, 1], [13, 1]]
    assert (found.wait.tolist(), found.exchange.tolist()) == ([[10, 2]], [[12, 1]])
