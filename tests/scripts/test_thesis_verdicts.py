"""From intervals to verdicts, on numbers made up for it."""

import numpy as np
import pytest

from distopt.metrics.statistics import UNKNOWN, Interval
from scripts.thesis import verdicts
from scripts.thesis.verdicts import Part, Verdict, above, below, combine, everywhere, opposite, proportion, show, within

HOLDS, PARTLY, FAILS, OPEN = Verdict


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(0.9, 0.8, 1.0), HOLDS),
        (Interval(0.5, 0.4, 0.6), OPEN),
        (Interval(0.1, 0.0, 0.2), FAILS),
        (Interval(0.9, float("nan"), float("nan")), OPEN),
        (UNKNOWN, OPEN),
    ],
)
def test_a_claim_about_a_bound_is_settled_only_by_the_whole_interval(interval: Interval, expected: Verdict) -> None:
    assert above(interval, 0.5) is expected
    assert below(interval, 0.5) is opposite(expected)


def test_what_equals_the_bound_is_not_above_it() -> None:
    assert above(verdicts.exact(0.0), 0.0) is FAILS
    assert below(verdicts.exact(0.0), 0.0) is FAILS


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.2, 0.3, HOLDS), (0.1, 0.4, HOLDS), (0.05, 0.2, OPEN), (0.3, 0.5, OPEN), (0.5, 0.6, FAILS), (0.0, 0.05, FAILS)],
)
def test_a_claim_about_a_range(low: float, high: float, expected: Verdict) -> None:
    assert within(Interval((low + high) / 2, low, high), 0.1, 0.4) is expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([FAILS, FAILS], FAILS),
        ([OPEN, OPEN], OPEN),
        ([HOLDS, FAILS], PARTLY),
        ([HOLDS, OPEN], PARTLY),
        ([PARTLY, FAILS], PARTLY),
        ([FAILS, OPEN], OPEN),
        ([], OPEN),
    ],
)
def test_a_claim_of_several_parts(parts: list[Verdict], expected: Verdict) -> None:
    assert combine(parts) is expected
    assert combine(parts[::-1]) is expected


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        ([HOLDS] * 3, HOLDS),
        ([HOLDS, HOLDS, OPEN], OPEN),
        ([HOLDS, HOLDS, FAILS], PARTLY),
        ([HOLDS, FAILS, FAILS], FAILS),
        ([], OPEN),
    ],
)
def test_one_exception_refutes_all_configurations(cases: list[Verdict], expected: Verdict) -> None:
    assert everywhere(cases) is expected


def test_a_share_of_all_runs_has_an_interval_that_is_not_a_point() -> None:
    share = proportion(5, 5)
    assert share.value == share.high == 1
    assert share.low == pytest.approx(1 / (1 + 1.959964**2 / 5), rel=1e-5)  # Wilson's lower end at 1
    assert above(share, 0.5) is HOLDS
    assert above(proportion(3, 5), 0.5) is OPEN
    assert np.isnan(proportion(0, 0).value)


def test_numbers_are_written_with_their_interval_or_a_dash() -> None:
    assert show(Interval(0.5, 0.25, 0.75), 2) == "0.50 [0.25, 0.75]"
    assert show(Interval(0.5, float("nan"), float("nan")), 1) == "0.5 [–]"
    assert show(UNKNOWN) == "–"
    assert show(verdicts.exact(2.0), 1) == "2.0"


def test_every_claim_has_its_text_and_a_caveat_takes_its_facts() -> None:
    assert set(verdicts.texts()) == {*(f"D{i}" for i in range(1, 21)), "X1"}
    claim = verdicts.claim("D14", [Part("a", HOLDS), Part("b", FAILS)], mixed="0.01")
    assert claim.verdict is PARTLY
    assert "0.01" in claim.caveat
    assert "{" not in claim.caveat
