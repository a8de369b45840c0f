"""Implicit momentum of runs on analytic functions, measured from their recorded centers."""

import json
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from distopt.metrics.momentum import LEAST, Array, ImplicitMomentum, implicit_momentum
from distopt.metrics.statistics import UNKNOWN
from distopt.report.comparison.grouping import Configuration
from distopt.runs.results import Run

NOTHING = ImplicitMomentum(UNKNOWN, UNKNOWN)


def measured(configuration: Configuration) -> ImplicitMomentum:
    """Return the implicit momentum over a configuration's seeds; NaN where it cannot be measured.

    It needs at least three seeds on an analytic function, with the center evaluated after every update
    (`evaluate.every=1`). Runs of different lengths count up to the end of the shortest; repetitions of a seed, whose
    noise is not independent, as their mean.
    """
    if len(configuration.seeds) < LEAST or not all(map(_complete, configuration.runs)):
        return NOTHING
    paths = [_centers(run) for run in configuration.runs]
    shortest = min(map(len, paths))
    centers = np.stack([path[:shortest] for path in paths])
    gradients = _gradient(json.dumps(configuration.runs[0].config["model"]))(centers)
    seeds = np.array([run.seed for run in configuration.runs])
    means = (np.stack([of[seeds == seed].mean(axis=0) for seed in configuration.seeds]) for of in (centers, gradients))
    return implicit_momentum(*means)


def _complete(run: Run) -> bool:
    updates = run.evals["update"].to_numpy()
    return "x0" in run.evals and len(updates) > LEAST and bool((updates == np.arange(len(updates))).all())


def _centers(run: Run) -> Array:
    names = [str(name) for name in run.evals]
    axes = sorted((name for name in names if name[0] == "x" and name[1:].isdigit()), key=lambda name: int(name[1:]))
    return run.evals[axes].to_numpy(np.float64)


@lru_cache(maxsize=8)
def _gradient(settings: str) -> Callable[[Array], Array]:
    """Return the exact gradient of an analytic function, for points of shape (runs, updates + 1, d)."""
    import jax  # here, because other comparisons do not need it

    from distopt import models

    model = models.build(json.loads(settings), None, None)
    each = jax.grad(lambda x: model.loss({"x": x}, {}, (), None)[0])
    compiled = jax.jit(jax.vmap(jax.vmap(each)))
    return lambda points: np.asarray(compiled(points.astype(np.float32)), np.float64)
