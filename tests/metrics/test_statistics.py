import numpy as np
import pytest
from scipy import stats

from distopt.metrics import statistics
from distopt.metrics.statistics import (
    geometric_mean_interval,
    mean_interval,
    median_interval,
    median_ratio_interval,
    paired_difference,
)

SAMPLE = [0.91, 0.94, 0.89, 0.95, 0.93]
OTHER = [0.90, 0.91, 0.90, 0.92, 0.91]


def test_interval_of_the_mean_against_scipy():
    mean, low, high = mean_interval(SAMPLE)
    expected = stats.t.interval(0.95, 4, np.mean(SAMPLE), stats.sem(SAMPLE))
    assert mean == pytest.approx(np.mean(SAMPLE))
    assert (low, high) == pytest.approx(expected, rel=1e-12)


def test_interval_of_the_mean_of_two_in_closed_form():
    # t with one degree of freedom is Cauchy: its 0.975 quantile is tan(0.475 π), and s / √2 = |a - b| / 2
    assert mean_interval([1.0, 3.0]) == pytest.approx((2.0, 2 - np.tan(0.475 * np.pi), 2 + np.tan(0.475 * np.pi)))


@pytest.mark.parametrize("interval", [mean_interval, median_interval, geometric_mean_interval])
def test_one_value_has_no_interval_and_none_has_nothing(interval):
    value, *ends = interval([0.5])
    assert value == pytest.approx(0.5)
    assert np.isnan(ends).all()
    assert np.isnan(interval([])).all()


def test_equal_values_have_an_interval_without_width():
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.5, 0.5)
    assert median_interval([2.0, 2.0]) == (2, 2, 2)


def test_a_mean_of_shares_stays_among_them():
    value, low, high = mean_interval([0.0, 0.1, 0.5], low=0.0, high=1.0)
    assert (value, low) == (pytest.approx(0.2), 0.0)
    assert high == mean_interval([0.0, 0.1, 0.5]).high < 1
    assert mean_interval([0.5, 0.9, 1.0], low=0.0, high=1.0).high == 1.0


def test_median_against_scipys_bootstrap():
    times = np.random.default_rng(5).exponential(size=101)
    value, low, high = median_interval(times)
    reference = stats.bootstrap((times,), np.median, method="percentile", n_resamples=10_000, rng=1)
    assert value == np.median(times)
    scale = np.ptp(times)
    assert low == pytest.approx(reference.confidence_interval.low, abs=0.01 * scale)
    assert high == pytest.approx(reference.confidence_interval.high, abs=0.01 * scale)


def test_median_with_runs_that_never_arrive():
    assert median_interval([1, 2, 3, 4, np.inf])[::2] == (3, np.inf)
    assert median_interval([1, np.inf, np.inf])[:2] == (np.inf, 1)
    assert median_interval([np.inf] * 3) == (np.inf, np.inf, np.inf)
    assert np.isnan(median_interval([1, np.nan])).all()


def test_geometric_mean_is_symmetric_in_what_is_over_what():
    ratios = np.array([1.1, 1.3, 0.9, 1.2])
    value, low, high = geometric_mean_interval(ratios)
    assert value == pytest.approx(stats.gmean(ratios))
    assert geometric_mean_interval(1 / ratios) == pytest.approx((1 / value, 1 / high, 1 / low))
    assert geometric_mean_interval([1.0, np.inf])[0] == np.inf


def test_median_ratio_keeps_the_pairs():
    costs = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0])
    assert median_ratio_interval(2 * costs, costs) == pytest.approx((2, 2, 2))
    shuffled = median_ratio_interval(2 * costs, costs[[3, 0, 4, 1, 2]])
    assert shuffled.value == pytest.approx(2)
    assert shuffled.low < 0.1 < 10 < shuffled.high


def test_median_ratio_does_not_depend_on_the_order_of_pairs():
    a, b = np.random.default_rng(0).exponential(size=(2, 6))
    assert median_ratio_interval(a[::-1], b[::-1]) == median_ratio_interval(a, b)


def test_median_ratio_with_runs_that_never_arrive():
    assert median_ratio_interval([1, 2, 3], [np.inf] * 3) == (0, 0, 0)
    assert median_ratio_interval([np.inf] * 3, [1, 2, 3]) == (np.inf, np.inf, np.inf)
    assert np.isnan(median_ratio_interval([np.inf] * 3, [np.inf] * 3).value)
    half = median_ratio_interval([1, 2, np.inf, 2, 1], [1, np.inf, 2, 2, 1])
    assert (half.value, half.low, half.high) == (1, 0, np.inf)  # either may have failed, or both


def test_paired_difference_against_scipy():
    interval, p_value = paired_difference(SAMPLE, OTHER)
    reference = stats.ttest_rel(SAMPLE, OTHER)
    ends = reference.confidence_interval()
    assert p_value == pytest.approx(reference.pvalue, rel=1e-9)
    assert interval == pytest.approx((np.mean(SAMPLE) - np.mean(OTHER), ends.low, ends.high))


def test_paired_difference_without_a_spread():
    assert paired_difference([1, 2], [1, 2])[1] == 1
    assert paired_difference([2, 3], [1, 2])[1] == 0
    assert np.isnan(paired_difference([1], [2])[1])
    assert np.isnan(paired_difference([], [])[0].value)


def test_intervals_are_deterministic():
    statistics._draws.cache_clear()
    statistics._middle.cache_clear()
    first = median_interval(SAMPLE), median_ratio_interval(SAMPLE, OTHER)
    statistics._draws.cache_clear()
    statistics._middle.cache_clear()
    assert (median_interval(SAMPLE), median_ratio_interval(SAMPLE, OTHER)) == first


@pytest.mark.parametrize(
    ("interval", "draw", "truth"),
    [
        (mean_interval, lambda rng: rng.normal(3, 1, 5), 3),
        (median_interval, lambda rng: rng.exponential(size=15), np.log(2)),
        (geometric_mean_interval, lambda rng: rng.lognormal(size=5), 1),
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say(interval, draw, truth):
    rng = np.random.default_rng(0)
    found = [interval(draw(rng)) for _ in range(400)]
    covered = np.mean([low <= truth <= high for _, low, high in found])
    assert covered == pytest.approx(0.95, abs=0.03)


def test_median_ratio_covers_the_truth_of_paired_costs():
    rng = np.random.default_rng(1)

    def pair() -> np.ndarray:
        return rng.lognormal(size=(1, 9)) * rng.lognormal(0, 0.3, size=(2, 9))

    covered = [low <= 1 <= high for _, low, high in (median_ratio_interval(*pair()) for _ in range(300))]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)
