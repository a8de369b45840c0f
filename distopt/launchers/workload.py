"""What a run asks of a cluster: from an experiment, or from a configuration without training and without data."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from distopt import datasets, local, models, optimizers
from distopt.cluster import Cluster, Workload
from distopt.errors import ConfigError
from distopt.records import LOSS
from distopt.tasks import Task
from distopt.training.budget import UNLIMITED, steps_of, whole_portions
from distopt.training.experiment import Experiment
from distopt.training.shapes import shapes
from distopt.trees import tree_bytes


def cluster(experiment: Experiment) -> Cluster:
    """Return the cluster model of an experiment."""
    return Cluster.from_settings(experiment.config["cluster"])


def workload(experiment: Experiment) -> Workload:
    """Return what an experiment asks of a cluster."""
    rules, layout = experiment.optimizer, shapes(experiment)
    return Workload(
        workers=experiment.workers,
        window=experiment.window,
        steps=experiment.budget,
        synchrony=rules.synchrony,
        until=rules.worker.steps.until,
        bytes_up=tree_bytes(layout.message),
        bytes_down=tree_bytes(layout.reply),
        bytes_center=tree_bytes(layout.center) if rules.worker.pull else None,
        seed=experiment.seed,
        batch_size=experiment.batch_size,
    )


def workload_from_config(
    config: Mapping[str, Any], samples: int | None = None, parameters: int | None = None
) -> Workload:
    """Return the workload of a resolved configuration, the samples dealt out evenly.

    Args:
        config: plain containers, checked by `distopt.config.validate`.
        samples: size of the training set; by default that of the data set, which is loaded where its name does not
            tell. It may be less than the number of workers; some workers then take no steps.
        parameters: d of float32; by default those of the model on these data.

    Raises:
        ConfigError: settings that do not fit together, or a run that nothing would end.
        DataError: data that are needed and missing.
    """
    data = datasets.size(config["dataset"]) if samples is None or parameters is None else None
    if samples is None and data is not None:
        samples = data.samples
    tx = local.build(config["local"])
    optimizer = optimizers.from_config(config, tx)
    workers = min(config["workers"], optimizer.workers or config["workers"])
    small, rest = divmod(samples or 0, workers)
    steps = steps_of(config, config["dataset"].get("context"), [small + (k < rest) for k in range(workers)])
    if steps.min() >= UNLIMITED and config["stop"]["updates"] is None and config["stop"]["seconds"] is None:
        raise ConfigError("nothing ends this run in a prediction: set epochs, steps, stop.updates or stop.seconds")
    experiment = Experiment(
        config=config,
        dataset=None,
        model=_model(config, data, parameters),
        local=tx,
        optimizer=optimizer,
        workers=workers,
        window=config["optimizer"]["window"],
        batch_size=config["batch_size"] if samples else 0,
        seed=config["seed"],
        shards=[],
        budget=whole_portions(steps, optimizer, config["optimizer"]["window"]),
    )
    return workload(experiment)


def _model(config: Mapping[str, Any], data: datasets.Size | None, parameters: int | None) -> Task:
    """Return the task, or a stand-in with the right number of parameters that is never evaluated."""
    if parameters is None:
        given = (data.shape, data.classes, data.kind) if data else (None, None)
        return models.build(config["model"], *given)
    return Task(lambda key: (jnp.zeros(parameters), {}), lambda *_: ((), {}), lambda *_: {}, (LOSS,))
