"""Parts that several optimizers share: ways to commit and adopt, and ways to fold commits into the center."""

from distopt.optimizers.parts.equilibrium import until_equilibrium
from distopt.optimizers.parts.rounds import buffered
from distopt.optimizers.parts.scales import scale_metrics
from distopt.optimizers.parts.server import additive, elastic, mean, staleness_weighted, stateless, weighted_sum
from distopt.optimizers.parts.worker import (
    DELTA,
    GRADIENT,
    MEAN_DELTA,
    PARAMETERS,
    adopt_center,
    commit_delta,
    commit_gradient,
    commit_gradients,
    commit_mean_delta,
    commit_params,
)
from distopt.trees import sample

__all__ = [
    "DELTA",
    "GRADIENT",
    "MEAN_DELTA",
    "PARAMETERS",
    "additive",
    "adopt_center",
    "buffered",
    "commit_delta",
    "commit_gradient",
    "commit_gradients",
    "commit_mean_delta",
    "commit_params",
    "elastic",
    "mean",
    "sample",
    "scale_metrics",
    "staleness_weighted",
    "stateless",
    "until_equilibrium",
    "weighted_sum",
]
