import numpy as np
import pytest

from distopt.cluster.laws import Law, Streams, totals

DRAWN = [("gamma", 0.3), ("exponential", 1.0), ("lognormal", 0.3), ("pareto", 0.2)]


@pytest.mark.parametrize(("name", "cv"), DRAWN)
@pytest.mark.parametrize("count", [1, 5])
def test_totals_have_the_mean_and_the_variation_of_the_law(name, cv, count):
    drawn = totals(Law(2.0, name, cv), np.full(100_000, count), Streams(0).at(0))
    assert drawn.min() > 0
    assert drawn.mean() == pytest.approx(2.0 * count, rel=0.01)
    assert drawn.std() / drawn.mean() == pytest.approx(cv / np.sqrt(count), rel=0.05)


def test_deterministic_totals_are_multiples_of_the_mean():
    assert totals(Law(0.5), np.array([1, 4]), Streams(0).at(0)).tolist() == [0.5, 2.0]


@pytest.mark.parametrize("name", [name for name, _ in DRAWN])
def test_unequal_counts_are_kept_apart(name):
    drawn = totals(
        Law(1.0, name, 0.01) if name != "exponential" else Law(1.0, name), np.array([1, 10_000]), Streams(3).at(0)
    )
    assert drawn[1] == pytest.approx(10_000, rel=0.05)
    assert drawn[0] < 100


def test_variation_is_what_the_law_has_not_what_was_written():
    assert Law(1.0, "deterministic", 0.7).variation == 0
    assert str(Law(1.0, "exponential", 0.1)) == "exponential, cv 1"
    assert str(Law(1.0, "gamma", 0.25)) == "gamma, cv 0.25"


def test_random_numbers_differ_by_seed_purpose_worker_and_chunk_and_by_nothing_else():
    keys = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({tuple(Streams(seed).at(*key).random(4)) for seed, *key in keys}) == 5
    used = Streams(5)
    used.at(0, 7).standard_normal(101)
    used.at(0, 7).integers(3, dtype="int32")
    assert used.at(1, 2).random() == Streams(5).at(1, 2).random()
