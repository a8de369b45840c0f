"""Compiled programs, shared by the runs of one process that differ only in seed, budget, cluster and the like."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax

from distopt.training.experiment import Experiment

KEPT = 64  # programs of a handful of configurations: a sweep visits them one after the other
_programs: "OrderedDict[tuple[Hashable, str], Any]" = OrderedDict()


def quick() -> dict[str, Any] | None:
    """Return compiler options for programs that are as fast when they are compiled in less time.

    On CPU matrix products are library calls, and what surrounds them is bound by memory: the compiler's last passes
    gain nothing.
    """
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None


def shared(experiment: Experiment, name: str, make: Callable[[], Any], on: Hashable = None) -> Any:
    """Return the program `name` of an experiment, made by `make` if no run like it was there before.

    `make` must use nothing of the experiment but its model, local optimizer, rules and shapes; if `on` is given, like
    the model alone, nothing but that: runs with other optimizers then share the program too.
    """
    key = (experiment.program if on is None else on, name)
    program = _programs.pop(key, None) or make()
    _programs[key] = program
    while len(_programs) > KEPT:
        _programs.popitem(last=False)
    return program
