"""What a configuration asks of a cluster, found without training and, where need be, without the data."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distopt import datasets, local, models, optimizers
from distopt.cluster.draws import Workload
from distopt.datasets.sampler import steps_for
from distopt.errors import ConfigError
from distopt.experiment import UNLIMITED
from distopt.rules import Commits, DistributedOptimizer, Params, Window
from distopt.trees import tree_bytes


def workload_from_config(
    config: Mapping[str, Any], samples: int | None = None, parameters: int | None = None
) -> Workload:
    """Return the workload of a resolved configuration, the samples dealt out evenly.

    Args:
        config: plain containers, checked by `distopt.config.validate`.
        samples: size of the training set; by default the data are loaded to see. May be less than the workers, some
            of which then have nothing to do.
        parameters: d of float32; by default those of the model on these data.

    Raises:
        ConfigError: settings that do not fit together, or a run that nothing would end.
        DataError: data that are needed and missing.
    """
    data = datasets.load(config["dataset"]) if samples is None or parameters is None else None
    if parameters is None:
        model = models.build(config["model"], data.shape if data else None, data.classes if data else None)
        params, _ = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    else:
        params = jax.ShapeDtypeStruct((parameters,), np.float32)
    optimizer = optimizers.build(config["optimizer"], local.build(config["local"]))
    workers = min(config["workers"], optimizer.workers or config["workers"])
    if samples is None and data is not None:
        samples = data.size
    steps = _budget(config, samples, workers)
    if steps.min() >= UNLIMITED and config["stop"]["updates"] is None and config["stop"]["seconds"] is None:
        raise ConfigError("nothing ends this run in a prediction: set epochs, stop.updates or stop.seconds")
    up, down = message_bytes(optimizer, params, workers)
    return Workload(
        workers=workers,
        window=config["optimizer"]["window"],
        steps=steps,
        quorum=optimizer.quorum,
        bytes_up=up,
        bytes_down=down,
        seed=config["seed"],
        batch_size=config["batch_size"] if samples else 0,
    )


def _budget(config: Mapping[str, Any], samples: int | None, workers: int) -> np.ndarray:
    """Return the local steps of each worker, int64, shape (n,): `epochs` passes over equal shards."""
    if samples is None or config["epochs"] is None:
        return np.full(workers, UNLIMITED, np.int64)
    small, rest = divmod(samples, workers)
    few, more = (steps_for(size, config["epochs"], config["batch_size"]) for size in (small, small + 1))
    return np.where(np.arange(workers) < rest, more, few).astype(np.int64)


def message_bytes(optimizer: DistributedOptimizer, params: Params, workers: int) -> tuple[int, int]:
    """Return the bytes of a commit and of a reply for parameters of these shapes; nothing is computed."""

    def exchange(params: Params) -> tuple[Any, Any]:
        window = Window(params, params, jnp.int32(1), params)
        message, _ = optimizer.worker.commit(window, optimizer.worker.init(params))
        one = jnp.zeros(1, jnp.int32)
        commits = Commits(one, one, jax.tree.map(lambda leaf: leaf[None], message))
        update = optimizer.server.update(commits, optimizer.server.init(params, workers), params)
        return message, update.center if update.replies is None else update.replies

    up, down = jax.eval_shape(exchange, params)
    return tree_bytes(up), tree_bytes(down)
