"""Schedules: their factors against NumPy, and settings that make no sense."""

import math
import re
from typing import Any

import numpy as np
import pytest

from distopt import config, schedules
from distopt.errors import ConfigError
from distopt.schedules import Clock

T = 100
COMMON = {"clock": None, "length": None}
COSINE = {"name": "cosine", **COMMON, "warmup": 10, "final": 0.1}
WSD = {"name": "wsd", **COMMON, "warmup": 0.1, "decay": 20, "final": 0.2}
STEP = {"name": "step", **COMMON, "warmup": 0.0, "milestones": [0.5, 75], "factor": 0.1}


def factors(settings: dict[str, Any], clocks: np.ndarray) -> list[float]:
    schedule = schedules.build(settings)
    assert schedule is not None
    return [float(schedule.factor(Clock(np.float32(s), np.float32(1), np.float32(T)))) for s in clocks]


def test_every_schedule_has_a_yaml_that_builds() -> None:
    assert set(schedules.KEYS) == set(config.choices("schedule"))
    for name in schedules.KEYS:
        built = schedules.build(dict(config.compose([f"schedule={name}"])["schedule"]))
        assert (built is None) == (name == "constant")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "warmup", **COMMON, "warmup": 10}, lambda s: min(1, (s + 1) / 10)),
        (
            COSINE,
            lambda s: (s + 1) / 10 if s < 10 else 0.1 + 0.9 * (1 + math.cos(math.pi * (min(s, T) - 10) / 90)) / 2,
        ),
        (WSD, lambda s: min(1, (s + 1) / 10) if s < 80 else 1 - 0.8 * (min(s, T) - 80) / 20),
        (
            {"name": "inverse_sqrt", **COMMON, "warmup": 0.1},
            lambda s: (s + 1) / 10 if s < 10 else math.sqrt(10 / min(s, T)),
        ),
        (STEP, lambda s: 0.1 ** (int(s >= 50) + int(s >= 75))),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_factors(settings: dict[str, Any], expected: Any) -> None:
    clocks = np.arange(T + 30)
    found = factors(settings, clocks)
    np.testing.assert_allclose(found, [expected(s) for s in clocks], rtol=2e-5, atol=1e-6)
    assert min(found) > 0
    assert len(set(found[T:])) == 1  # held after the end
    if settings["warmup"]:
        np.testing.assert_allclose(found[:10], np.arange(1, 11) / 10, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"name": "linear"}, r"schedule\.name=linear: no such schedule; choose from constant, warmup"),
        (COSINE | {"clock": "hours"}, r"schedule\.clock=hours must be one of steps, share, samples, updates or null"),
        (COSINE | {"warmup": -1}, r"schedule\.warmup=-1 must be a number >= 0"),
        (COSINE | {"final": 2}, r"schedule\.final=2 must be"),
        (COSINE | {"decay": 2}, r"schedule\.decay: unknown key, cosine has clock, length, warmup, final"),
        ({"name": "cosine"}, r"schedule\.clock is missing: schedule=cosine needs it"),
        (STEP | {"milestones": []}, r"schedule\.milestones=\[\] must be a list"),
        ({"name": "warmup", **COMMON, "warmup": 0}, r"schedule\.warmup=0: .* set it > 0"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        schedules.build(settings)


@pytest.mark.parametrize(
    ("settings", "clock", "length", "budget", "said"),
    [
        (COSINE, "steps", 100, 99, r"schedule\.length=100 is longer than the budget of 99 steps"),
        (COSINE | {"warmup": 200}, "steps", 100, 100, r"schedule\.warmup 200: longer than the schedule, .* 100 steps"),
        (WSD | {"warmup": 0.9}, "samples", 100, 100, r"warmup 90, schedule\.decay 20: longer"),
        (STEP, "updates", 60, 60, r"schedule\.milestones=75 75: longer"),
        (COSINE, "share", 1, 1, r"schedule\.warmup: the clock share ends at 1"),
    ],
)
def test_schedules_that_do_not_fit_a_budget(
    settings: dict[str, Any], clock: str, length: float, budget: float, said: str
) -> None:
    schedule = schedules.build(settings)
    assert schedule is not None
    [words] = schedules.unfit(schedule, clock, length, budget)
    assert re.search(said, words), words
    assert schedules.unfit(schedules.build(COSINE | {"warmup": 0.1}), "steps", 100, 100) == []  # type: ignore[arg-type]
