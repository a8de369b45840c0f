"""The contract of distributed optimizers, as a check that their authors run in their own tests.

    from distopt.testing import check

    def test_contract() -> None:
        check(my_optimizer, gamma=0.1)

It calls the rules one by one, then trains small problems in this process with the same replica and server as every
launcher. It takes some seconds and needs neither Ray nor data.
"""

import inspect
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import optax

from distopt import cluster
from distopt import config as configuration
from distopt.datasets import Dataset
from distopt.datasets.dataset import classified
from distopt.launchers.inprocess import loop
from distopt.launchers.inprocess.one_by_one import Single
from distopt.optimizers import GIVEN, LAUNCHER_SETTINGS
from distopt.records import News, Watch
from distopt.rules import DistributedOptimizer
from distopt.testing.rules import WINDOW, WORKERS, check_rules, same
from distopt.training import experiment as experiments
from distopt.training.admission import Admission
from distopt.training.experiment import Experiment
from distopt.training.worker_programs import Replica

__all__ = ["Trained", "check", "train"]

COMMITS = 60
LEARNING_RATE = 0.05
LOGISTIC = {"name": "logistic"}
QUADRATIC = {"name": "quadratic", "start": [1.0, -1.0], "curvatures": [1.0, 2.0], "noise": 0.0}


class Trained(NamedTuple):
    """The results of training: rows as in a run's tables, and the final center by name."""

    commits: list[dict[str, Any]]
    evals: list[dict[str, Any]]
    center: dict[str, np.ndarray]

    @property
    def losses(self) -> np.ndarray:
        """Return the center's loss on the training data at every evaluation."""
        return np.array([row["loss"] for row in self.evals if row["split"] == "train"])


def train(experiment: Experiment, order: Iterable[int | tuple[int, Sequence[int]]]) -> Trained:
    """Train in this process.

    Args:
        experiment: what to train.
        order: the workers in the order in which they commit, each alone or with a list of workers that pull just
            before. A worker whose rule pulls, and that is in no list, pulls right before its commit.

    Raises:
        AssertionError: training diverged.
    """
    updates = []
    for i, each in enumerate(order, start=1):
        worker, pulled = (each, ()) if isinstance(each, int) else each
        commit = cluster.Commit(worker, 0, 0.0, 0.0, 0.0)
        updates.append(cluster.Update(float(i), (commit,), pulled=tuple(pulled)))
    trained, outcomes = Trained([], [], {}), []

    (experiment,) = experiments.taught([experiment])
    replica = Replica(experiment)
    engine = Single(experiment, replica)

    def training() -> Generator[News, None, None]:
        outcomes.append((yield from loop.train(experiment, updates, engine, replica, Watch(), lambda: False)))

    for news in training():
        trained.commits.extend(news.commits)
        trained.evals.extend(news.evals)
    [outcome] = outcomes
    assert outcome.status != "diverged", f"training on {experiment.config['model']['name']} diverged: {outcome.reason}"
    return trained._replace(center=outcome.center or {})


def check(factory: Callable[..., DistributedOptimizer], **settings: Any) -> None:
    """Check that a distributed optimizer keeps what the interface promises.

    Args:
        factory: returns a `DistributedOptimizer`; if it takes an argument `local`, it is given plain SGD, and if it
            takes `workers`, their number.
        settings: for the factory; `name` and `window`, as in the optimizer's YAML, may be among them.

    Raises:
        AssertionError: a promise is broken; the message says which.
    """
    window = settings.get("window", WINDOW)
    settings = {key: value for key, value in settings.items() if key not in LAUNCHER_SETTINGS}
    optimizer = _build(factory, settings)
    check_rules(optimizer)
    for problem in (QUADRATIC, LOGISTIC):
        experiment = _experiment(optimizer, window, problem)
        order = list(_order(experiment))
        trained = train(experiment, order)
        _check_progress(trained.losses, str(problem["name"]))
    if optimizer.synchrony.groups is None:  # members of a group are neighbours
        _check_permutation(experiment, order, trained)
    rebuilt = _build(*_travel(factory, settings))
    again = train(_experiment(rebuilt, window, LOGISTIC), order)
    assert same(again.center, trained.center), "the same settings, seed and commit order give other bits"
    other = train(_experiment(optimizer, window, LOGISTIC, seed=1), order)
    assert not same(other.center, trained.center), "another seed gives the same center: it ignores what workers send"


def _build(factory: Callable[..., DistributedOptimizer], settings: dict[str, Any]) -> DistributedOptimizer:
    given = {"local": optax.sgd(LEARNING_RATE), "workers": WORKERS}
    taken = GIVEN & set(inspect.signature(factory).parameters)
    arguments = settings | {name: given[name] for name in taken}
    optimizer = factory(**arguments)
    assert isinstance(optimizer, DistributedOptimizer), (
        f"the factory returns {type(optimizer)}, no DistributedOptimizer"
    )
    return optimizer


def _travel(factory: Callable[..., Any], settings: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Pickle and unpickle factory and settings, as on the way to another process, which rebuilds the rules."""
    try:
        return pickle.loads(pickle.dumps((factory, settings)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise AssertionError(
            f"factory and settings cannot be pickled ({error}): define the factory at the top level of a module, and "
            "keep settings to numbers, strings and lists"
        ) from None


@cache
def _defaults() -> dict[str, Any]:
    overrides = ["optimizer=downpour", "local=sgd", f"local.learning_rate={LEARNING_RATE}", "epochs=null"]
    return configuration.validate(configuration.compose([*overrides, "evaluate.every=10", "stop.updates=1000000"]))


def _experiment(optimizer: DistributedOptimizer, window: int, model: dict[str, Any], seed: int = 0) -> Experiment:
    """Build an experiment around rules that need not be known by name."""
    data = _blobs() if model is LOGISTIC else None
    workers = min(WORKERS, optimizer.workers or WORKERS)
    config = _defaults() | {"model": model, "workers": workers, "seed": seed, "batch_size": 24 // workers}
    config |= {"optimizer": {"name": "downpour", "window": window}}  # a name that can be built; its rules go unused
    built = experiments.build(config, data)
    return built._replace(optimizer=optimizer, local=optimizer.local or built.local)


def _blobs() -> Dataset:
    """Return 24 points of two overlapping classes."""
    y = np.arange(24, dtype=np.int32) % 2
    x = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32) + y[:, None]
    return classified("blobs", (x, y), (x, y), 2)


def _order(experiment: Experiment) -> Iterator[int]:
    """Yield workers in an irregular order that is allowed: no worker commits while it waits for a reply."""
    rng, admission = np.random.default_rng(0), Admission(experiment.optimizer.synchrony, experiment.workers)
    free = set(admission.active)
    for _ in range(COMMITS):
        worker = int(rng.choice(sorted(free)))
        free.remove(worker)
        verdict = admission.commit(worker)
        free |= {*verdict.released, *verdict.joined}
        yield worker


def _check_progress(losses: np.ndarray, problem: str) -> None:
    """Check that the loss falls by a tenth at least."""
    assert losses[-1] < 0.9 * losses[0], (
        f"after {COMMITS} commits the loss on {problem} went from {losses[0]:.4g} to {losses[-1]:.4g}: it must fall; "
        "messages are in descent sign, the server adds them"
    )


def _check_permutation(experiment: Experiment, order: Sequence[int], trained: Trained) -> None:
    """Check that the numbers of workers do not matter: relabel the workers together with their shards.

    A shard is one batch here, so that the order of samples changes only rounding.
    """
    n = experiment.workers
    shards = [experiment.shards[(worker - 1) % n] for worker in range(n)]
    losses = train(experiment._replace(shards=shards), [(worker + 1) % n for worker in order]).losses
    assert np.allclose(losses, trained.losses, rtol=1e-3), "the center depends on how the workers are numbered"
