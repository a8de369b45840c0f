"""Which workers share an actor, and what each actor needs."""

import math
from importlib.util import find_spec
from typing import NamedTuple

from distopt.errors import ConfigError
from distopt.training.experiment import Experiment

CUDA_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


class Layout(NamedTuple):
    """The actors of a run."""

    hosted: list[list[int]]  # workers of each actor
    cpus: float
    gpus: float


def layout(experiment: Experiment, cpus: float, gpus: float | None) -> Layout:
    """Deal the workers to actors: by default as many actors as there are GPUs, or else cores.

    Args:
        experiment: the run.
        cpus: available cores.
        gpus: available GPUs; None: not known yet, checked once Ray has counted them.

    Raises:
        ConfigError: the actors need more cores or GPUs than are available.
    """
    settings, n = experiment.config["launcher"], experiment.workers
    usable = any(map(find_spec, CUDA_PLUGINS))
    per_actor = settings["gpus_per_actor"]
    if per_actor is None:
        per_actor = 1 if gpus and usable else 0
    elif per_actor and not usable:
        raise ConfigError("launcher.gpus_per_actor: this JAX has no CUDA support; install distopt[cuda12] or [cuda13]")
    places = int(cpus / settings["cpus_per_actor"])
    if per_actor and gpus is not None:
        places = min(places, int(gpus / per_actor + 1e-9))
    each = settings["workers_per_actor"] or math.ceil(n / max(1, min(n, places)))
    actors = math.ceil(n / each)
    if actors > places and not (per_actor and gpus is None):
        need = f"{actors * settings['cpus_per_actor']:g} CPU" + (f" + {actors * per_actor:g} GPU" if per_actor else "")
        have = f"{cpus:g} CPU" + (f" + {gpus:g} GPU" if per_actor else "")
        raise ConfigError(
            f"launcher: {n} workers in {actors} actors need {need}, there are {have}: set launcher.workers_per_actor="
            f"{math.ceil(n / max(places, 1))} or more, or lower launcher.cpus_per_actor or launcher.gpus_per_actor"
        )
    return Layout(
        [list(range(first, min(first + each, n))) for first in range(0, n, each)], settings["cpus_per_actor"], per_actor
    )
