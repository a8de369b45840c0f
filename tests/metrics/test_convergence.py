import numpy as np
import pandas as pd
import pytest

from distopt.errors import ResultsError
from distopt.metrics.convergence import Curve, aggregate, area, best, curve, to_target
from scripts.tools import folders


def line(x, y) -> Curve:
    return Curve(np.array(x, float), np.array(y, float))


def test_curve_takes_one_split_and_any_axis():
    evals = pd.DataFrame(
        {
            "update": [0, 0, 2, 2],
            "time_s": [0.0, 0.0, 5.0, 5.0],
            "samples": [0, 0, 640, 640],
            "split": ["train", "validation"] * 2,
            "loss": [2.0, 2.1, 1.0, 1.1],
            "accuracy": [0.1, 0.2, 0.5, 0.6],
        }
    )
    commits = folders.commits(updates=3)
    options = {"commits": commits, "train_samples": 320}
    ends = {axis: curve(evals, x=axis, **options).x[-1] for axis in ("time", "updates", "samples", "bytes", "epochs")}
    assert ends == {"time": 5, "updates": 2, "samples": 640, "bytes": 2 * 4000, "epochs": 2}
    assert curve(evals, "loss", "train").y.tolist() == [2.0, 1.0]
    assert curve(evals).y.tolist() == [0.2, 0.6]


def test_bytes_of_a_barrier_count_all_its_commits():
    commits = folders.commits(updates=4).assign(update=[1, 1, 2, 2])
    evals = folders.evals(points=3, updates=2)
    assert curve(evals, x="bytes", commits=commits).x.tolist() == [0, 8000, 16000]


@pytest.mark.parametrize(("axis", "word"), [("epochs", "train_samples"), ("bytes", "commits"), ("miles", "updates")])
def test_axis_that_cannot_be_had_is_named(axis, word):
    with pytest.raises(ResultsError, match=word):
        curve(folders.evals(), x=axis)


def test_evaluations_without_a_number_are_left_out():
    evals = folders.evals(points=5)
    evals.loc[evals.index[-1], "loss"] = np.nan
    assert curve(evals, "loss").x.size == 4


def test_time_to_target():
    c = line([0, 10, 20], [0.1, 0.5, 0.9])
    assert to_target(c, 0.7) == 20
    assert to_target(c, 0.7, interpolate=True) == pytest.approx(15)
    assert to_target(c, 0.1) == 0
    assert to_target(c, 0.91) == np.inf
    assert to_target(line([0, 10], [2.0, 1.0]), 1.5, "lower", interpolate=True) == pytest.approx(5)
    assert to_target(line([], []), 0.5) == np.inf


def test_best_ignores_what_is_not_finite():
    assert best(np.array([1.0, np.inf, 0.5]), "lower") == 0.5
    assert best(np.array([0.2, 0.7, np.nan])) == 0.7
    assert np.isnan(best(np.array([])))


def test_area_of_a_line_and_of_its_part():
    c = line([0, 1, 4], [0, 1, 4])
    np.testing.assert_allclose(area(c, np.array([0.0, 0.5, 2.0, 4.0])), [0, 0.125, 2, 8])
    np.testing.assert_allclose(area(c, np.array([2.0]), offset=1.0), [0])


def test_area_holds_the_first_value_before_the_first_evaluation():
    np.testing.assert_allclose(area(line([2, 4], [3, 3]), np.array([1.0, 4.0])), [3, 12])


def test_area_of_a_smooth_curve_approaches_its_integral():
    x = np.linspace(0, 3, 3001)
    assert area(Curve(x, 1 - np.exp(-x)), np.array([3.0]))[0] == pytest.approx(2 + np.exp(-3), rel=1e-6)


def test_aggregate_is_over_all_curves_and_ends_with_the_shortest():
    band = aggregate([line([0, 1, 2], [0, 1, 2]), line([0, 1.5], [2, 2])], [0, 1])
    assert band.x.tolist() == [0, 1, 1.5]
    assert band.mean.tolist() == [1, 1.5, 1.75]
    assert (band.low.tolist(), band.high.tolist()) == ([0, 1, 1.5], [2, 2, 2])
    assert aggregate([], []).x.size == 0


def test_the_repetitions_of_a_seed_share_its_weight_in_the_mean():
    band = aggregate([line([0, 1], [0, 0]), line([], []), line([0, 1], [3, 3]), line([0, 1], [9, 9])], [4, 4, 4, 7])
    assert band.mean.tolist() == [(0 + 3) / 2 / 2 + 9 / 2] * 2
    assert (band.low[0], band.high[0]) == (0, 9)
