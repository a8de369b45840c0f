"""An optimizer and its local method, made to follow the schedule of a configuration."""

import json
import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import optax

from distopt import local, optimizers, schedules
from distopt.errors import ConfigError
from distopt.optimizers.parts import scheduled
from distopt.rules import DistributedOptimizer
from distopt.schedules import Schedule

Followed = tuple[optax.GradientTransformation | None, DistributedOptimizer, Schedule | None]


def follow(config: Mapping[str, Any], optimizer: DistributedOptimizer, reach: Mapping[str, float]) -> Followed:
    """Return local method, rules and schedule where the workers follow a schedule, else None, rules and None.

    Args:
        config: of the experiment.
        optimizer: its rules, without a schedule.
        reach: how far each clock gets in the budgets.

    Raises:
        ConfigError: a schedule that does not suit the optimizer, or is longer than the budget.
    """
    schedule = once(schedules.build, config["schedule"])
    if schedule is None:
        return None, optimizer, None
    named, at_server = f"optimizer={config['optimizer']['name']}", optimizer.worker.steps.takes == "gradients"
    clock = schedule.clock or ("updates" if at_server else "steps")
    if at_server and clock != "updates":
        raise ConfigError(f"schedule.clock={clock}: {named} takes its steps at the server; set schedule.clock=updates")
    length = _length(schedule, clock, reach[clock])
    try:
        if clock == "updates":
            rate = config["local"]["learning_rate"] if at_server else 1.0
            return None, once(_moved, {"length": length, "rate": rate}, optimizer, schedule), None
        method = once(_scaled, config["local"])
        rules = once(optimizers.from_config, rules_of(config), method)
        rules = once(_counted, {}, rules) if clock == "samples" else rules
    except ValueError as error:
        raise ConfigError(f"schedule.clock={clock} {named}: {error}") from None
    return method, rules, once(_with_clock, {"clock": clock}, schedule)


def _length(schedule: Schedule, clock: str, budget: float) -> float:
    """Return T of a schedule on a clock.

    Raises:
        ConfigError: it has none, or one beyond the budget, or its parts are longer.
    """
    length = schedule.length or budget
    if length == math.inf:
        raise ConfigError(
            f"schedule.length=null: nothing says how long the schedule is; set it in {clock}, or set a budget (epochs, "
            "steps or tokens)"
        )
    if problems := schedules.unfit(schedule, clock, length, budget):
        raise ConfigError(problems)
    return length


def rules_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that decide the rules."""
    return {key: config.get(key) for key in ("optimizer", "compression", "diagnostics", "workers")}


_built: dict[Hashable, Any] = {}


def once(make: Callable[..., Any], settings: Mapping[str, Any], *arguments: Any) -> Any:
    """Call `make` once for equal settings, so that equal experiments have the same functions and share programs."""
    key = (make, json.dumps(settings, sort_keys=True), arguments)
    if key not in _built:
        _built[key] = make(settings, *arguments)
    return _built[key]


def _scaled(settings: Mapping[str, Any]) -> optax.GradientTransformation:
    return local.build(settings, scheduled=True)


def _moved(settings: Mapping[str, Any], optimizer: DistributedOptimizer, schedule: Schedule) -> DistributedOptimizer:
    return scheduled.moved(optimizer, schedule, settings["length"], settings["rate"])


def _counted(settings: Mapping[str, Any], optimizer: DistributedOptimizer) -> DistributedOptimizer:
    del settings
    return scheduled.counted(optimizer)


def _with_clock(settings: Mapping[str, Any], schedule: Schedule) -> Schedule:
    return schedule._replace(clock=settings["clock"])
