"""Small experiments that need no files, and orders in which their workers commit."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from distopt import config as configuration
from distopt.datasets import Dataset
from distopt.datasets.dataset import classified
from distopt.testing import Trained
from distopt.training import experiment as experiments
from distopt.training.experiment import Experiment

BOOTH = {"name": "booth", "start": [-2.0, 3.0], "noise": 0.0}
BEALE = {"name": "beale", "start": [1.0, 1.5], "noise": 0.0}
SGD = {"name": "sgd", "learning_rate": 0.01, "on_pull": "keep"}
ADAM = {"name": "adam", "learning_rate": 0.01, "on_pull": "keep"}
#: three workers at uneven speed; some commit twice in a row
UNEVEN = [0, 1, 1, 2, 0, 1, 0, 0, 2, 1, 2, 0, 1, 0, 2, 2, 1, 0]


@cache
def _defaults() -> dict[str, Any]:
    return configuration.validate(configuration.compose(["epochs=null", "stop.updates=1000000", "evaluate.every=1"]))


def experiment(
    optimizer: str,
    *,
    window: int = 1,
    model: Mapping[str, Any] = BOOTH,
    local: Mapping[str, Any] = SGD,
    data: Dataset | None = None,
    settings: Mapping[str, Any] | None = None,
    **top: Any,
) -> Experiment:
    """Build an experiment: `settings` are the optimizer's own, `top` replaces top-level entries (`workers`, `seed`)."""
    rules = {"name": optimizer, "window": window, **(settings or {})}
    return experiments.build(_defaults() | {"optimizer": rules, "model": model, "local": local} | top, data)


def blobs(size: int = 24) -> Dataset:
    """Points in the plane of two overlapping classes; training and validation data are the same."""
    y = np.arange(size, dtype=np.int32) % 2
    x = np.random.default_rng(0).normal(size=(size, 2)).astype(np.float32) + y[:, None]
    return classified("blobs", (x, y), (x, y), 2)


def path(trained: Trained) -> np.ndarray:
    """The center of an analytic model in the plane before and after each update, shape (updates + 1, 2)."""
    return np.array([[row["x0"], row["x1"]] for row in trained.evals])
