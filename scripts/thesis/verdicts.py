"""Verdicts: explicit rules from intervals to words, as pure functions.

A part of a claim holds if the whole 95 % interval is on the claimed side, and does not hold if the whole interval is on
the other. It cannot be told if the interval reaches over the bound or is not available. A claim with several parts
holds if all parts hold, and does not hold if all parts do not hold.
"""

import math
from collections.abc import Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml
from scipy.stats import binomtest

from distopt.metrics.statistics import UNKNOWN, Interval


class Verdict(Enum):
    """The verdict of the measurements on a claim."""

    HOLDS = "holds"
    PARTLY = "holds partly"
    FAILS = "does not hold"
    OPEN = "cannot be told"


class Part(NamedTuple):
    """A measured statement and its verdict."""

    words: str
    verdict: Verdict


class Claim(NamedTuple):
    """A published claim, its measured parts, and its caveat.

    caveat: where the published comparison is confounded, or this one falls short. figure: the file name without suffix.
    """

    name: str
    statement: str
    published: str
    caveat: str
    figure: str
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the verdict over all parts."""
        return combine([part.verdict for part in self.parts])


@cache
def texts() -> dict[str, dict[str, str]]:
    """Return statement, published numbers, caveat and figure of each claim."""
    return yaml.safe_load((Path(__file__).parent / "claims.yaml").read_text(encoding="utf-8"))


def claim(name: str, parts: Sequence[Part], **facts: object) -> Claim:
    """Return a measured claim; `facts` are filled into its caveat."""
    text = texts()[name]
    return Claim(
        name, text["statement"], text["published"], text["caveat"].format(**facts), text["figure"], tuple(parts)
    )


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict of a claim with these parts.

    If all parts agree, it is theirs. If some parts hold, wholly or partly, the claim holds partly. Otherwise some parts
    cannot be told and could hold, so the claim cannot be told.
    """
    kinds = set(verdicts)
    if len(kinds) == 1:
        return kinds.pop()
    return Verdict.PARTLY if kinds & {Verdict.HOLDS, Verdict.PARTLY} else Verdict.OPEN


def above(interval: Interval, bound: float) -> Verdict:
    """Judge "more than `bound`"."""
    if math.isnan(interval.low) or math.isnan(interval.high):
        return Verdict.OPEN
    if interval.low > bound:
        return Verdict.HOLDS
    return Verdict.FAILS if interval.high <= bound else Verdict.OPEN


def below(interval: Interval, bound: float) -> Verdict:
    """Judge "less than `bound`"."""
    return above(Interval(-interval.value, -interval.high, -interval.low), -bound)


def within(interval: Interval, low: float, high: float) -> Verdict:
    """Judge "between `low` and `high`, ends included"."""
    if math.isnan(interval.low) or math.isnan(interval.high):
        return Verdict.OPEN
    if low <= interval.low and interval.high <= high:
        return Verdict.HOLDS
    return Verdict.FAILS if interval.high < low or interval.low > high else Verdict.OPEN


def everywhere(verdicts: Sequence[Verdict]) -> Verdict:
    """Judge "in all cases": one exception refutes it, but it holds partly if more cases hold than fail."""
    count = verdicts.count
    if not verdicts or not count(Verdict.FAILS):
        return Verdict.HOLDS if verdicts and count(Verdict.HOLDS) == len(verdicts) else Verdict.OPEN
    return Verdict.PARTLY if count(Verdict.HOLDS) > count(Verdict.FAILS) else Verdict.FAILS


def opposite(verdict: Verdict) -> Verdict:
    """Return the verdict on the contrary statement."""
    return {Verdict.HOLDS: Verdict.FAILS, Verdict.FAILS: Verdict.HOLDS}.get(verdict, verdict)


def proportion(successes: int, trials: int) -> Interval:
    """Return a share with Wilson's 95 % interval, which is not degenerate at 0 and 1; not available without trials."""
    if not trials:
        return UNKNOWN
    ends = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return Interval(successes / trials, float(ends.low), float(ends.high))


def exact(value: float) -> Interval:
    """Return the interval of a computed value, which has no uncertainty."""
    return Interval(value, value, value)


def show(interval: Interval, digits: int = 3) -> str:
    """Return an interval as `0.874 [0.870, 0.878]`; a dash if it is not available."""
    value, low, high = (f"{number:.{digits}f}" for number in interval)
    if math.isnan(interval.value):
        return "–"
    if interval.low == interval.value == interval.high:
        return value
    return f"{value} [–]" if math.isnan(interval.low) else f"{value} [{low}, {high}]"
