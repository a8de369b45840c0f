"""What of a configuration does not suit its data, its model or its optimizer."""

from collections.abc import Mapping
from typing import Any

import jax

from distopt import local
from distopt.datasets import Dataset
from distopt.models.norms import BATCHED
from distopt.rules import DistributedOptimizer
from distopt.runs.schema import are_metrics
from distopt.tasks import Task


def unsuited(config: Mapping[str, Any], data: Dataset | None, task: Task, optimizer: DistributedOptimizer) -> list[str]:
    """Return all problems, one message each."""
    problems = _odd_metrics(config, task) or _unknown_goals(config, task)
    problems += _odd_norms(config, task)
    if data and config["dataset"].get("resident") is False and optimizer.worker.steps.passes:
        problems.append(
            f"dataset.resident=false: optimizer={config['optimizer']['name']} passes over portions of the data, which "
            "the device keeps; leave it auto"
        )
    if config["label_smoothing"] and (data is None or data.kind not in ("classes", "tokens")):
        problems.append(f"label_smoothing={config['label_smoothing']}: the data have no classes; set it to 0")
    return problems


def _odd_metrics(config: Mapping[str, Any], task: Task) -> list[str]:
    """Return a problem if the metrics of a task, which may be somebody's, cannot be recorded."""
    if are_metrics([metric._asdict() for metric in task.metrics]) and "loss" in [each.name for each in task.metrics]:
        return []
    return [
        f"model={config['model']['name']}: its metrics must have different names of letters, digits and _, `better`, a "
        "format such as '.4f', and one of them the name loss"
    ]


def _unknown_goals(config: Mapping[str, Any], task: Task) -> list[str]:
    """Return a problem for each criterion on a metric that the task does not have, or without its other half."""
    stop, names = config["stop"], [metric.name for metric in task.metrics]
    if (stop["metric"] is None) != (stop["target"] is None):
        return ["stop.metric and stop.target: give both or neither"]
    wanted = {f"stop.{name}": name for name in ("accuracy", "loss") if stop[name] is not None}
    wanted |= {f"stop.metric={stop['metric']}": stop["metric"]} if stop["metric"] is not None else {}
    has = f"model={config['model']['name']} has {', '.join(names)}"
    return [f"{key}: no such metric, {has}" for key, name in wanted.items() if name not in names]


def _odd_norms(config: Mapping[str, Any], task: Task) -> list[str]:
    """Return a problem for each norm that the batches or the model do not suit."""
    problems, settings = [], config["model"]
    if (norm := settings.get("norm")) in BATCHED and config["batch_size"] == 1:
        told = "a batch of one sample has no spread; take batch_size > 1 or model.norm=group"
        problems.append(f"model.norm={norm}: {told}")
    if (radius := config["local"].get("max_norm")) is not None:
        params, _ = jax.eval_shape(task.init, jax.random.key(0))
        if not local.has_units(params):
            told = f"model={settings['name']} has no layers of units; set local.max_norm=null"
            problems.append(f"local.max_norm={radius}: {told}")
    return problems
