"""Schedules: the learning rate as a function of a clock, η(s) = η f(s), on the way from s = 0 to s = T.

| schedule | f(s) after the warm-up of W |
|---|---|
| `constant` | 1 |
| `warmup` | 1 |
| `cosine` | r + (1 − r) (1 + cos π (s − W) / (T − W)) / 2 |
| `wsd` | 1 until s = T − D, then 1 − (1 − r) (s − T + D) / D |
| `inverse_sqrt` | √(W / max(s, W)) |
| `step` | γ^m after m milestones |

In the warm-up f is (s + p) / W where p is what one step adds to s, so that no step has the rate 0. After T it stays as
it is at T.

Sources: cosine: I. Loshchilov, F. Hutter, "SGDR", 2017 (arXiv:1608.03983). wsd: S. Hu et al., "MiniCPM", 2024
(arXiv:2404.06395). inverse_sqrt: A. Vaswani et al., "Attention Is All You Need", 2017 (arXiv:1706.03762).
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from distopt.errors import ConfigError
from distopt.settings import Check, list_of, number, one_of, or_null, problem

CLOCKS = ("steps", "share", "samples", "updates")
"""What s counts: a worker's own steps; the share of its own budget that it has used; the samples in all commits that
the center held when the worker pulled it, and from there as if all workers went on alike; the updates of the center."""


class Clock(NamedTuple):
    """The clock at the first step of a window; all float32 of shape ()."""

    now: Any  # s
    pace: Any  # what a step adds to it
    length: Any  # T


class Schedule(NamedTuple):
    """A schedule: hashable, as programs depend on it."""

    clock: Literal["steps", "share", "samples", "updates"] | None  # None: what suits the optimizer
    length: float | None  # T in units of the clock; None: the budget
    durations: tuple[tuple[str, float], ...]  # by setting, in units of the clock from 1 on, below 1 as a share of T
    factor: Callable[[Clock], jax.Array]  # f; shape ()


_DURATION = number(0)
_RULES: dict[str, Check] = {
    "clock": or_null(one_of(*CLOCKS)),
    "length": or_null(number(0, above=True)),
    "warmup": _DURATION,
    "decay": number(0, above=True),
    "final": number(0, 1),
    "milestones": list_of(number(0, above=True), "a list of different numbers > 0,", different=True, least=1),
    "factor": number(0, 1, above=True, below=True),
}
KEYS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "warmup": ("clock", "length", "warmup"),
    "cosine": ("clock", "length", "warmup", "final"),
    "wsd": ("clock", "length", "warmup", "decay", "final"),
    "inverse_sqrt": ("clock", "length", "warmup"),
    "step": ("clock", "length", "warmup", "milestones", "factor"),
}


def build(settings: Mapping[str, Any]) -> Schedule | None:
    """Build the schedule that the configuration group `schedule` describes; None where the rate is constant.

    Raises:
        ConfigError: unknown name, or settings that are unknown to it or out of range.
    """
    name = settings.get("name")
    if name not in KEYS:
        raise ConfigError(f"schedule.name={name}: no such schedule; choose from {', '.join(KEYS)}")
    keys, given = KEYS[name], {key: value for key, value in settings.items() if key != "name"}
    problems = [f"schedule.{key}: unknown key, {name} has {', '.join(keys) or 'none'}" for key in given.keys() - keys]
    problems += [f"schedule.{key} is missing: schedule={name} needs it" for key in keys if key not in given]
    problems += filter(None, [problem(f"schedule.{key}", given[key], _RULES[key]) for key in keys if key in given])
    if not problems and name in ("warmup", "inverse_sqrt") and given["warmup"] == 0:
        problems.append(f"schedule.warmup=0: schedule={name} is made of its warm-up; set it > 0")
    if problems:
        raise ConfigError(problems)
    if name == "constant":
        return None
    lasting = [("schedule.warmup", float(given["warmup"]))]
    if name == "wsd":
        lasting.append(("schedule.decay", float(given["decay"])))
    lasting += [(f"schedule.milestones={each:g}", float(each)) for each in given.get("milestones", ())]
    return Schedule(given["clock"], given["length"], tuple(lasting), _factor(name, given))


def unfit(schedule: Schedule, clock: str, length: float, budget: float) -> list[str]:
    """Return what is wrong with a schedule of length T on a clock that gets as far as `budget`."""
    if length > budget:
        return [
            f"schedule.length={length:g} is longer than the budget of {budget:g} {clock}; shorten it, or leave it null "
            "to take the budget"
        ]
    if clock == "share" and (long := [f"{key}" for key, value in schedule.durations if value >= 1]):
        return [f"{long[0]}: the clock share ends at 1; give a number below 1"]
    spans = [(key, value if value >= 1 else value * length) for key, value in schedule.durations]
    apart = [span for key, span in spans if "milestones" in key]
    together = sum(span for key, span in spans if "milestones" not in key)
    if together > length or any(span >= length for span in apart):
        named = ", ".join(f"{key} {span:g}" for key, span in spans if span)
        return [f"{named}: longer than the schedule, which has {length:g} {clock}"]
    return []


def _span(duration: float, clock: Clock) -> Any:
    """Return a duration in units of the clock."""
    return duration if duration >= 1 else duration * clock.length


def _factor(name: str, given: Mapping[str, Any]) -> Callable[[Clock], jax.Array]:
    """Return f of a schedule."""
    warmup, final = float(given["warmup"]), given.get("final", 1.0)

    def factor(clock: Clock) -> jax.Array:
        s, length = jnp.minimum(jnp.float32(clock.now), clock.length), clock.length
        w = _span(warmup, clock)
        if name == "cosine":
            after = final + (1 - final) * (1 + jnp.cos(jnp.pi * jnp.clip((s - w) / (length - w), 0, 1))) / 2
        elif name == "wsd":
            d = _span(given["decay"], clock)
            after = 1 - (1 - final) * jnp.clip((s - length + d) / d, 0, 1)
        elif name == "inverse_sqrt":
            after = jnp.sqrt(w / jnp.maximum(s, w))
        elif name == "step":
            passed = [jnp.float32(s >= _span(each, clock)) for each in given["milestones"]]
            after = given["factor"] ** sum(passed)
        else:
            after = jnp.float32(1)
        return after if warmup == 0 else jnp.where(s < w, jnp.minimum((s + clock.pace) / w, 1), after)

    return factor
