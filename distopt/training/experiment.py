"""From a resolved configuration to everything a launcher needs: the same values in every process that builds it."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from distopt import datasets, local, models, optimizers
from distopt.datasets import Dataset
from distopt.datasets.dataset import leaves
from distopt.errors import ConfigError
from distopt.records import Checkpoint, Metric
from distopt.rules import DistributedOptimizer
from distopt.runs.schema import are_metrics
from distopt.schedules import CLOCKS, Clock, Schedule
from distopt.tasks import Task
from distopt.tasks.distillation import distilled
from distopt.tasks.smoothing import smoothed
from distopt.training import teacher
from distopt.training.budget import UNLIMITED, divide, whole_portions
from distopt.training.scheduling import follow, once, rules_of
from distopt.training.trial import exchange
from distopt.windows import count, length

RESIDENT = 256 << 20  # bytes of samples in files up to which `dataset.resident=auto` keeps them on the device


class Goal(NamedTuple):
    """A value of a metric that ends training."""

    metric: Metric
    target: float
    key: str  # the setting that asks for it


class Experiment(NamedTuple):
    """One run before training: all that a launcher needs."""

    config: Mapping[str, Any]
    dataset: Dataset | None
    model: Task
    local: optax.GradientTransformation  # what workers run
    optimizer: DistributedOptimizer
    workers: int  # n, workers that really train
    window: int  # λ
    batch_size: int
    seed: int
    shards: list[np.ndarray]  # per worker, int32 indices into the training set; empty without data
    budget: np.ndarray  # local steps of each worker, int64, shape (n,)
    schedule: Schedule | None = None  # of the rate of the local method where workers run it; its clock is set
    speeds: tuple[float, ...] = ()  # of each worker relative to the fastest, in (0, 1]; (): not known, taken as 1
    start: Checkpoint | None = None  # the checkpoint that a run resumes from

    @property
    def limited(self) -> bool:
        """Return whether the budget of samples ends the run."""
        return bool(self.budget.max() < UNLIMITED)

    @property
    def goals(self) -> list[Goal]:
        """Return the values of metrics that end training; `stop.accuracy` and `stop.loss` are short forms."""
        stop, known = self.config["stop"], {metric.name: metric for metric in self.model.metrics}
        wanted = [(name, stop[name], f"stop.{name}") for name in ("accuracy", "loss")]
        wanted.append((stop["metric"], stop["target"], "stop.target"))
        return [Goal(known[name], target, key) for name, target, key in wanted if target is not None]

    @property
    def guarded(self) -> bool:
        """Return whether commits that are not finite are refused while training continues."""
        return bool(self.config["on_bad_commit"] != "stop")

    @property
    def program(self) -> Hashable:
        """Return the key of the compiled programs: runs with equal keys share them."""
        data = jax.tree.leaves((self.dataset.train, self.dataset.validation)) if self.dataset else ()
        shapes = tuple((array.shape, array.dtype) for array in data)
        reset = self.config["local"]["on_pull"]
        rules = self.model, self.local, self.optimizer, self.schedule, reset
        return *rules, self.workers, self.window, self.batch_size, shapes

    @property
    def resident(self) -> bool:
        """Return whether the device keeps all training samples; else each window brings its own."""
        if self.dataset is None or self.portions:
            return True
        wanted, data = self.config["dataset"].get("resident", "auto"), leaves(self.dataset.train)
        if wanted != "auto":
            return bool(wanted)
        return all(isinstance(leaf, np.ndarray) for leaf in data) or sum(leaf.nbytes for leaf in data) <= RESIDENT

    @property
    def portions(self) -> int | None:
        """Return P where all workers train on P fixed portions of the data, None where each has its own shard."""
        passes = self.optimizer.worker.steps.passes
        return passes.portions if passes else None

    @property
    def train_samples(self) -> int | None:
        """Return the size of the training set."""
        return self.dataset.size if self.dataset else None

    @property
    def parameters(self) -> int:
        """Return d, the number of parameters."""
        params, _ = jax.eval_shape(lambda: self.model.init(jax.random.key(0)))
        return sum(leaf.size for leaf in jax.tree.leaves(params))

    def warnings(self) -> list[str]:
        """Return what may distort the results of this configuration."""
        words = list(self.dataset.warnings) if self.dataset else []
        if self.workers < self.config["workers"]:
            name = self.config["optimizer"]["name"]
            words.append(f"optimizer={name} uses {self.workers} of the {self.config['workers']} workers")
        if self.dataset and min(len(shard) for shard in self.shards) < self.batch_size:
            words.append(f"some shards have fewer samples than batch_size={self.batch_size}: a batch repeats samples")
        if self.limited and self.budget.min() < self.window:
            words.append(
                f"some workers take only {self.budget.min()} local steps, less than one window of {self.window}"
            )
        words += self._uneven() + self._uncovered() + self._noisy()
        return words + self.optimizer.warnings(self.workers, self.window)

    def _uneven(self) -> list[str]:
        """Return a warning if a barrier will have fewer commits at the end, because some budgets end earlier."""
        if not self.limited or self.quorum < self.workers or self.optimizer.synchrony.whole:
            return []
        windows = sorted(self.windows)
        updates = min(windows[-1], self.config["stop"]["updates"] or windows[-1])
        alone = updates - windows[0]
        if alone <= max(1, updates // 50):
            return []
        return [
            f"workers have {windows[0]} to {windows[-1]} windows: the last {alone} of {updates} updates are of fewer "
            f"than {self.workers}; with dataset.partition=iid, or epochs=null stop.updates={windows[0]}, none is"
        ]

    def _uncovered(self) -> list[str]:
        """Return a warning if the portions of the data leave samples out, or take many twice."""
        if not (self.dataset and self.portions):
            return []
        portions, size = self.portions, self.dataset.size
        taken, needed = portions * self.window * self.batch_size, -(-size // (portions * self.batch_size))
        if needed == self.window:
            return []
        return [
            f"{portions} portions of optimizer.window={self.window} batches are {taken:,} samples of {size:,}: "
            f"optimizer.window={needed} takes each once"
        ]

    def _noisy(self) -> list[str]:
        """Return a warning for each setting of the model that makes the loss differ between the passes of a method."""
        if not self.portions:
            return []
        model, name = self.config["model"], self.config["optimizer"]["name"]
        return [
            f"model.{setting}={model[setting]} makes the loss another function in every pass over the portions, from "
            f"which optimizer={name} cannot learn its curvature; set model.{setting}=0"
            for setting in ("dropout", "noise")
            if model.get(setting)
        ]

    @property
    def windows(self) -> list[int]:
        """Return the number of windows in each worker's budget, the fewest possible where windows may end early."""
        until, budgets = self.optimizer.worker.steps.until, self.budget.tolist()
        return [count(until, self.window, self.speed(k), budget) for k, budget in enumerate(budgets)]

    def steps(self, worker: int, sequence: int, remaining: int) -> int:
        """Return the local steps of a worker's window number `sequence`, at most `remaining`."""
        return length(self.optimizer.worker.steps.until, self.window, sequence, self.speed(worker), remaining)

    def speed(self, worker: int) -> float:
        """Return a worker's local steps per second relative to the fastest worker's, in (0, 1]."""
        return self.speeds[worker] if self.speeds else 1.0

    def clock(self, worker: int, step: int) -> Clock | None:
        """Return the clock of the local method's schedule before a step of a worker's budget; None without one."""
        if self.schedule is None:
            return None
        now, pace, length = step, 1, self.schedule.length or self.reach[str(self.schedule.clock)]
        if self.schedule.clock == "share":
            now, pace, length = step / self.budget[worker], 1 / self.budget[worker], 1
        elif self.schedule.clock == "samples":
            now, pace = 0, self.workers * self.batch_size
        return Clock(np.float32(now), np.float32(pace), np.float32(length))

    @property
    def reach(self) -> dict[str, float]:
        """Return how far each clock of a schedule gets in the budgets; infinite if they are unlimited."""
        found = dict.fromkeys(CLOCKS, math.inf) | {"updates": self.expected_updates or math.inf}
        if self.limited:
            samples = int(self.budget.sum()) * self.batch_size
            found |= {"share": 1, "steps": int(self.budget.max()), "samples": samples}
        return found

    @property
    def quorum(self) -> int:
        """Return the commits per update while every worker is active."""
        return self.optimizer.synchrony.quorums(self.workers)[-1]

    @property
    def expected_updates(self) -> int | None:
        """Return the number of updates the budgets allow; None if only a stop criterion ends the run."""
        if not self.limited:
            return self.config["stop"]["updates"]
        if self.optimizer.synchrony.whole:
            updates = sorted(self.windows)[-self.quorum]
        else:
            updates = max(self.windows) if self.quorum >= self.workers else sum(self.windows) // self.quorum
        return min(updates, self.config["stop"]["updates"] or updates)

    @property
    def evaluate_every(self) -> int:
        """Return the number of updates between two evaluations of the center."""
        settings = self.config["evaluate"]
        return settings["every"] or max(1, (self.expected_updates or 1000) // settings["points"])


def build(config: Mapping[str, Any], dataset: Dataset | str | None = "load") -> Experiment:
    """Build the experiment that a resolved configuration describes.

    Args:
        config: plain containers, checked by `distopt.config.validate`.
        dataset: the data, if the caller has them already; by default they are loaded.

    Raises:
        ConfigError: names, settings, shapes or sizes that do not fit together.
        DataError: data that are missing or damaged.
    """
    problems: list[str] = []
    tx = _attempt(problems, once, local.build, config["local"])
    optimizer = _attempt(problems, once, optimizers.from_config, rules_of(config), tx or optax.identity())
    data = _attempt(problems, datasets.load, config["dataset"]) if isinstance(dataset, str) else dataset
    if problems:
        raise ConfigError(problems)
    given = (data.shape, data.classes, data.kind) if data else (None, None)
    model = _attempt(problems, once, models.build, config["model"], *given)
    if model and config["teacher"] is not None:
        data = _attempt(problems, teacher.bring, data, config["teacher"])
        model = once(distilled, config["distillation"], model, data.kind) if data else None
    workers = min(config["workers"], optimizer.workers or config["workers"])
    divided = _attempt(problems, divide, config, data, workers)
    if model:
        problems += _odd_metrics(config, model) or _unknown_goals(config, model)
    if data and config["dataset"].get("resident") is False and optimizer.worker.steps.passes:
        problems.append(
            f"dataset.resident=false: optimizer={config['optimizer']['name']} passes over portions of the data, which "
            "the device keeps; leave it auto"
        )
    if config["model"].get("norm") == "batch" and config["batch_size"] == 1:
        problems.append(
            "model.norm=batch: a batch of one sample has no spread; take batch_size > 1 or model.norm=layer"
        )
    if smoothing := config["label_smoothing"]:
        if data is None or data.kind not in ("classes", "tokens"):
            problems.append(f"label_smoothing={smoothing}: the data have no classes; set it to 0")
        elif model:
            model = once(_smoothed, {"share": smoothing}, model)
    if problems:
        raise ConfigError(problems)
    shards, budget = divided
    experiment = Experiment(
        config=config,
        dataset=data,
        model=model,
        local=optimizer.local or tx,
        optimizer=optimizer,
        workers=workers,
        window=config["optimizer"]["window"],
        batch_size=config["batch_size"],
        seed=config["seed"],
        shards=shards,
        budget=whole_portions(budget, optimizer, config["optimizer"]["window"]),
    )
    method, rules, schedule = follow(config, optimizer, experiment.reach)
    if schedule is not None:
        return experiment._replace(local=rules.local or method, optimizer=rules, schedule=schedule)
    if rules is not optimizer:
        _check_replies(rules, experiment)
    return experiment._replace(optimizer=rules)


def _check_replies(rules: DistributedOptimizer, experiment: Experiment) -> None:
    """Raise ConfigError if the moves of the center cannot follow a schedule."""
    try:
        jax.eval_shape(lambda: exchange(rules, experiment.model.init(jax.random.key(0))[0], experiment.workers))
    except ValueError as error:
        name = experiment.config["optimizer"]["name"]
        raise ConfigError(f"schedule.clock=updates optimizer={name}: {error}") from None


def _smoothed(settings: Mapping[str, Any], task: Task) -> Task:
    return smoothed(task, settings["share"])


def taught(experiments: Sequence[Experiment]) -> list[Experiment]:
    """Let the teacher of experiments on the same data speak, in the process that trains; without one, change nothing.

    Raises:
        ConfigError: what it says is not finite.
    """
    data, config = experiments[0].dataset, experiments[0].config
    if data and data.teacher:
        data = teacher.hear(data, float(config["distillation"]["temperature"]))
        return [experiment._replace(dataset=data) for experiment in experiments]
    return list(experiments)


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


def _attempt(problems: list[str], make: Callable[..., Any], *arguments: Any) -> Any:
    """Call `make`; on a ConfigError note its problems and return None."""
    try:
        return make(*arguments)
    except ConfigError as error:
        problems += error.problems
        return None
