import numpy as np
import pytest

from distopt.metrics.convergence import Curve
from distopt.metrics.efficiency import hardware, matrix, temporal_efficiency
from distopt.metrics.statistics import geometric_mean_interval
from scripts.tools import folders


def constant(value: float, end: float = 10.0) -> Curve:
    return Curve(np.linspace(0, end, 7), np.full(7, value))


def random_curve(seed: int) -> Curve:
    rng = np.random.default_rng(seed)
    return Curve(np.append(0, np.cumsum(rng.exponential(size=40))), rng.uniform(0.1, 1, 41))


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_temporal_efficiency_is_one_with_itself_and_antisymbetter(better):
    curves = [random_curve(seed) for seed in range(4)]
    for a in curves:
        assert temporal_efficiency(a, a, better) == 1.0
        for b in curves:
            product = temporal_efficiency(a, b, better) * temporal_efficiency(b, a, better)
            assert product == pytest.approx(1, rel=1e-12)


def test_constant_curves_give_the_ratio_of_constants():
    assert temporal_efficiency(constant(0.8), constant(0.4, end=3)) == pytest.approx(2)
    assert temporal_efficiency(constant(0.8), constant(0.4), "lower") == pytest.approx(0.5)
    above = temporal_efficiency(constant(0.8), constant(0.4), integrand="above_chance", classes=10)
    assert above == pytest.approx(7 / 3)


def test_only_the_time_that_both_trained_counts():
    late = Curve(np.array([0.0, 10, 10, 20]), np.array([0.5, 0.5, 1.0, 1.0]))
    assert temporal_efficiency(late, constant(0.5, end=10)) == pytest.approx(1)
    assert temporal_efficiency(late, constant(0.5, end=20)) == pytest.approx(1.5)


def test_against_the_closed_form_of_saturating_curves():
    t = np.linspace(0, 5, 20001)
    fast, slow = Curve(t, 1 - np.exp(-2 * t)), Curve(t, 1 - np.exp(-t))
    expected = (5 - (1 - np.exp(-10)) / 2) / (5 - (1 - np.exp(-5)))
    assert temporal_efficiency(fast, slow) == pytest.approx(expected, rel=1e-6)


def test_below_chance_has_no_efficiency():
    value = temporal_efficiency(constant(0.05), constant(0.5), integrand="above_chance", classes=10)
    assert np.isnan(value)
    with pytest.raises(ValueError, match="classes"):
        temporal_efficiency(constant(1), constant(1), integrand="above_chance")


def test_matrix_over_seeds():
    curves = [[constant(0.2), constant(0.8)], [constant(0.4), constant(0.4)], []]
    values, low, high = matrix(curves, [[0, 1], [0, 1], []])
    np.testing.assert_allclose(values[:2, :2], [[1, 1], [1, 1]])
    assert np.isnan(values[2]).all()
    assert np.isnan(values[:, 2]).all()
    assert (low[0, 1], high[0, 1]) == pytest.approx(geometric_mean_interval([0.5, 2])[1:])
    assert (low[0, 0], high[0, 0]) == (1, 1)
    assert matrix([], []).shape == (3, 0, 0)


def test_matrix_of_seeds_that_are_not_shared_has_no_interval():
    curves = [[constant(0.2), constant(0.8)], [constant(0.4)]]
    values, low, _ = matrix(curves, [[0, 1], [7]])
    assert values[0, 1] == pytest.approx(1)
    assert np.isnan(low[0, 1])
    assert np.isnan(matrix(curves, [[0, 1], [1]])[1][0, 1])


def test_repetitions_of_a_seed_enter_as_one_pair():
    """Two runs of seed 3 against two, one of seed 5 against one: two pairs, not three or five."""
    a, b = [constant(0.2), constant(0.8), constant(0.4)], [constant(0.4), constant(0.4), constant(0.1)]
    found = matrix([a, b], [[3, 3, 5], [3, 3, 5]])[:, 0, 1]
    within = np.sqrt(0.2 / 0.4 * 0.8 / 0.4)
    np.testing.assert_allclose(found, geometric_mean_interval([within, 4.0]))
    one = matrix([a[:2], b[:2]], [[3, 3], [3, 3]])[:, 0, 1]
    assert one[0] == pytest.approx(within)
    assert np.isnan(one[1:]).all()


def test_hardware_shares_and_rates():
    numbers = hardware(folders.commits(updates=200, step_s=0.1), time_s=20, train_samples=1000)
    assert numbers["samples_per_s"] == pytest.approx(200 * 320 / 20)
    assert numbers["updates_per_s"] == pytest.approx(10)
    assert numbers["epoch_s"] == pytest.approx(20 / 64)
    assert numbers["server_busy"] == pytest.approx(0.25)
    assert (numbers["worker_busy"], numbers["worker_wait"]) == pytest.approx((0.75, 0.25))


def test_hardware_of_nothing_is_not_a_number():
    assert np.isnan(list(hardware(folders.commits(updates=0), time_s=0).values())).all()
