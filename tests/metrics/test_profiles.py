import numpy as np
import pytest

from distopt.metrics.profiles import MAX_RATIO, performance_ratios, profile, score

COSTS = np.array([[1.0, 2.0, np.inf], [4.0, 2.0, 3.0], [np.inf, np.inf, np.inf], [5.0, 50.0, 5.0]])


def test_ratios_are_to_the_best_of_each_workload():
    expected = [[1, 2, np.inf], [2, 1, 1.5], [np.inf] * 3, [1, 10, 1]]
    np.testing.assert_array_equal(performance_ratios(COSTS), expected)


def test_a_target_reached_at_once_is_best():
    np.testing.assert_array_equal(performance_ratios(np.array([[0.0, 1.0, 0.0]])), [[1, np.inf, 1]])


def test_profile_counts_workloads_within_a_factor():
    shares = profile(performance_ratios(COSTS), np.array([1.0, 1.5, 2.0, 1e9]))
    np.testing.assert_array_equal(shares[:, 0], [0.5, 0.5, 0.75, 0.75])
    np.testing.assert_array_equal(shares[:, 2], [0.25, 0.5, 0.5, 0.5])


def test_score_is_the_area_under_the_profile():
    ratios = performance_ratios(np.random.default_rng(0).lognormal(size=(40, 3)))
    within = np.linspace(1, MAX_RATIO, 200_001)
    area = np.trapezoid(profile(ratios, within), within, axis=0) / (MAX_RATIO - 1)
    np.testing.assert_allclose(score(ratios), area, rtol=1e-4)


@pytest.mark.parametrize(("ratio", "expected"), [(1.0, 1.0), (2.5, 0.5), (4.0, 0.0), (np.inf, 0.0)])
def test_score_of_one_workload(ratio, expected):
    assert score(np.array([[ratio]])) == expected
