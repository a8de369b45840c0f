"""Shards and budgets: which samples a worker draws from, and how many local steps it takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distopt.datasets import Dataset
from distopt.datasets.partition import partition
from distopt.datasets.sampler import steps_for
from distopt.errors import ConfigError
from distopt.rules import DistributedOptimizer

UNLIMITED = 2**31 - 1  # local steps of a worker that no budget limits


def divide(config: Mapping[str, Any], data: Dataset | None, workers: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Deal the training samples to the workers and turn the budget into local steps.

    Returns:
        One array of indices per worker, and the local steps of each, int64, shape (n,).

    Raises:
        ConfigError: fewer samples than shards, or a budget that such data do not have.
    """
    if data is None:
        return [np.empty(0, np.int32)] * workers, steps_of(config, None, [0] * workers)
    settings = config["dataset"]
    shards = partition(data.size, data.keys, workers, settings["partition"], settings.get("alpha", 1.0), config["seed"])
    sizes = [len(shard) for shard in shards]
    if settings["partition"] == "shared":  # every worker holds all samples, but takes only its part of the budget
        sizes = [-(-data.size // workers)] * workers
    return shards, steps_of(config, data.shape[0] if data.kind == "tokens" else None, sizes)


def steps_of(config: Mapping[str, Any], tokens: int | None, sizes: list[int]) -> np.ndarray:
    """Return the local steps of each worker, int64, shape (n,), by the first of the budgets that is set.

    `steps` are those of each worker; `tokens` are those of all workers together, divided evenly; `epochs` are passes
    over each worker's shard.

    Args:
        config: with these budgets and the batch size.
        tokens: T, predicted in each sample; None if samples are no texts.
        sizes: samples of each worker's shard, 0 without data.

    Raises:
        ConfigError: a budget in tokens for samples that have none.
    """
    workers, batch = len(sizes), config["batch_size"]
    if config["steps"] is not None:
        return np.full(workers, config["steps"], np.int64)
    if config["tokens"] is not None:
        if tokens is None:
            raise ConfigError(f"tokens={config['tokens']}: the data are no text; set epochs or steps instead")
        return np.full(workers, -(-config["tokens"] // (tokens * batch * workers)), np.int64)
    if config["epochs"] is None or not any(sizes):
        return np.full(workers, UNLIMITED, np.int64)
    return np.array([steps_for(size, config["epochs"], batch) for size in sizes], np.int64)


def whole_portions(budget: np.ndarray, optimizer: DistributedOptimizer, window: int) -> np.ndarray:
    """Return the local steps of each worker, rounded up to whole windows where a window is a portion of the data."""
    return -(-budget // window) * window if optimizer.worker.steps.passes else budget
