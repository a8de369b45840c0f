"""Compiled programs, shared by the runs of one process that differ only in seed, budget, cluster and the like."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax

from distopt.training.experiment import Experiment

KEPT = 64  # enough for a handful of configurations, which a sweep visits one after the other
_programs: "OrderedDict[tuple[Hashable, str], Any]" = OrderedDict()


def quick() -> dict[str, Any] | None:
    """Return compiler options that cut compile time without slowing the program; None: the default ones.

    On CPU, matrix products are library calls and the code around them is bound by memory, so the compiler's last passes
    gain nothing.
    """
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None


def shared(experiment: Experiment, name: str, make: Callable[[], Any], on: Hashable = None) -> Any:
    """Return the program `name` of an experiment; call `make` unless a run like it has made the program before.

    `make` may use only the experiment's model, local optimizer, rules and shapes. If `on` is given, for example the
    model, `make` may use only that; runs with other optimizers then share the program too.
    """
    key = (experiment.program if on is None else on, name)
    program = _programs.pop(key, None) or make()
    _programs[key] = program
    while len(_programs) > KEPT:
        _programs.popitem(last=False)
    return program
