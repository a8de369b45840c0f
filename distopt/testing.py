"""The contract of distributed optimizers, as a check that their authors run in their own tests.

    from distopt.testing import check

    def test_contract() -> None:
        check(my_optimizer, gamma=0.1)

It trains small problems in this process with the same replica and server as every launcher, so that what passes here
runs there. It takes some seconds and needs neither Ray nor data.
"""

import inspect
import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distopt import config as configuration
from distopt import experiment as experiments
from distopt.cluster import Commit, Update
from distopt.datasets import Dataset
from distopt.experiment import Experiment
from distopt.launchers import News, Outcome, Watch, inline
from distopt.optimizers import LAUNCHER_SETTINGS
from distopt.rules import DistributedOptimizer, ServerRule, WorkerRule
from distopt.rules import Update as RuleUpdate

__all__ = ["check"]

WORKERS = 3
WINDOW = 4
COMMITS = 60
LEARNING_RATE = 0.05
LOGISTIC = {"name": "logistic"}
QUADRATIC = {"name": "quadratic", "start": [1.0, -1.0], "curvatures": [1.0, 2.0], "noise": 0.0}
AT_MINIMUM = {"name": "booth", "start": [1.0, 3.0], "noise": 0.0}  # here gradients are exactly 0


class Trained(NamedTuple):
    """What training left."""

    losses: np.ndarray  # of the center, before training and after each update
    center: dict[str, np.ndarray]
    calls: list[int]  # length of the list of calls whenever a loss was noted


def check(factory: Callable[..., DistributedOptimizer], **settings: Any) -> None:
    """Check that a distributed optimizer keeps what the interface promises.

    Args:
        factory: returns a `DistributedOptimizer`; if it takes an argument `local`, it is given plain SGD.
        settings: for the factory; `name` and `window`, as in the optimizer's YAML, may be among them.

    Raises:
        AssertionError: a promise is broken; the message says which.
    """
    window = settings.get("window", WINDOW)
    settings = {key: value for key, value in settings.items() if key not in LAUNCHER_SETTINGS}
    optimizer = _build(factory, settings)
    experiment = _experiment(optimizer, window, LOGISTIC)
    order = list(_order(experiment))
    _check_rules(experiment, order[:9])
    trained = _check_compilation(experiment, order)
    _check_progress(trained.losses, "a small logistic regression")
    quadratic = _experiment(optimizer, window, QUADRATIC)
    _check_progress(_train(quadratic, list(_order(quadratic))).losses, "a quadratic")
    _check_rest(_experiment(optimizer, window, AT_MINIMUM, workers=1))
    _check_permutation(experiment, order, trained)
    rebuilt = _build(*_travel(factory, settings))
    again = _train(_experiment(rebuilt, window, LOGISTIC), order)
    assert _same(again.center, trained.center), "the same seed, settings and commit order give other bits"
    other = _train(_experiment(optimizer, window, LOGISTIC, seed=1), order)
    assert not _same(other.center, trained.center), "another seed gives the same center: the rules ignore the workers"


def _build(factory: Callable[..., DistributedOptimizer], settings: dict[str, Any]) -> DistributedOptimizer:
    arguments = dict(settings)
    if "local" in inspect.signature(factory).parameters:
        arguments["local"] = optax.sgd(LEARNING_RATE)
    optimizer = factory(**arguments)
    assert isinstance(optimizer, DistributedOptimizer), f"the factory returns {type(optimizer)}, no DistributedOptimizer"
    assert optimizer.quorum >= 1, f"quorum={optimizer.quorum} must be at least 1; ALL is a barrier"
    return optimizer


def _travel(factory: Callable[..., Any], settings: dict[str, Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Send factory and settings to another process and back: rules are rebuilt there, not sent."""
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
    return configuration.validate(configuration.compose([*overrides, "evaluate.every=1", "stop.updates=1000000"]))


def _experiment(
    optimizer: DistributedOptimizer, window: int, model: dict[str, Any], *, workers: int = WORKERS, seed: int = 0
) -> Experiment:
    """Build an experiment around rules that need not be known by name."""
    data = _blobs() if model is LOGISTIC else None
    workers = min(workers, optimizer.workers or workers)
    config = _defaults() | {"model": model, "workers": workers, "seed": seed, "batch_size": 24 // workers}
    config |= {"optimizer": {"name": "downpour", "window": window}}  # a name that can be built; its rules go unused
    return experiments.build(config, data)._replace(optimizer=optimizer)


def _blobs() -> Dataset:
    """Return 24 points of two overlapping classes."""
    y = np.arange(24, dtype=np.int32) % 2
    x = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32) + y[:, None]
    return Dataset("blobs", x, y, x, y, 2)


def _order(experiment: Experiment) -> Iterator[int]:
    """Yield workers in an irregular order that the quorum allows: nobody commits while waiting for a reply."""
    rng, free = np.random.default_rng(0), set(range(experiment.workers))
    for _ in range(COMMITS):
        worker = int(rng.choice(sorted(free)))
        free.remove(worker)
        if experiment.workers - len(free) == experiment.quorum:
            free = set(range(experiment.workers))
        yield worker


def _train(experiment: Experiment, order: Sequence[int], calls: Sequence[str] = ()) -> Trained:
    """Train in this process in a given commit order, and note how long `calls` is after each update."""
    outcomes: list[Outcome] = []

    def training() -> Generator[News, None, None]:
        updates = [Update(float(i), (Commit(worker, 0, 0.0, 0.0, 0.0),)) for i, worker in enumerate(order)]
        outcomes.append((yield from inline.train(experiment, updates, Watch(), lambda: False)))

    notes = [(news.evals[0]["loss"], len(calls)) for news in training() if news.evals]
    outcome = outcomes[0]
    assert outcome.status == "done" and outcome.center is not None, f"training {outcome.status}: {outcome.reason}"
    losses, lengths = zip(*notes, strict=True)
    return Trained(np.array(losses), outcome.center, list(lengths))


def _check_rules(experiment: Experiment, order: Sequence[int]) -> None:
    """Check every single call of a few windows, with values at hand."""
    with jax.disable_jit():
        _train(experiment._replace(optimizer=_watched(experiment.optimizer, [])), order)


def _check_compilation(experiment: Experiment, order: Sequence[int]) -> Trained:
    """Check that the rules compile, once, and then do what they do uncompiled."""
    calls: list[str] = []
    try:
        trained = _train(experiment._replace(optimizer=_watched(experiment.optimizer, calls)), order, calls)
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise AssertionError(f"the rules cannot be compiled by jax.jit: {error}") from error
    more = sorted(set(calls[trained.calls[1] :]))
    assert not more, (
        f"{' and '.join(more)} compiled again after the first update: outputs must keep the shapes, dtypes and weak "
        "types of inputs; make initial states with jnp.zeros and the like, not with Python numbers"
    )
    with jax.disable_jit():
        losses = _train(experiment, order[:9]).losses
    expected = trained.losses[: len(losses)]
    assert np.allclose(losses, expected, rtol=1e-4), f"compiled rules give losses {expected}, uncompiled ones {losses}"
    return trained


def _check_progress(losses: np.ndarray, problem: str) -> None:
    """Check that the loss falls by a tenth at least."""
    assert losses[-1] < 0.9 * losses[0], (
        f"after {COMMITS} commits the loss of {problem} went from {losses[0]:.4g} to {losses[-1]:.4g}: it must fall; "
        "messages are in descent sign, the server adds them"
    )


def _check_rest(experiment: Experiment) -> None:
    """Check that windows without change leave the center alone."""
    center = _train(experiment, [0] * 5).center["x"]
    assert np.allclose(center, AT_MINIMUM["start"], rtol=1e-6), (
        f"windows that end where they started, at staleness 0, moved the center from {AT_MINIMUM['start']} to {center}"
    )


def _check_permutation(experiment: Experiment, order: Sequence[int], trained: Trained) -> None:
    """Check that only what workers do counts, not their numbers: relabel them together with their shards.

    A shard is one batch here, so that the order of samples changes nothing but rounding.
    """
    shards = np.roll(np.stack(experiment.shards), 1, axis=0)
    relabelled = [(worker + 1) % experiment.workers for worker in order]
    losses = _train(experiment._replace(shards=list(shards)), relabelled).losses
    if experiment.workers > 1:
        assert np.allclose(losses, trained.losses, rtol=1e-3), "the center depends on how workers are numbered"


def _watched(optimizer: DistributedOptimizer, calls: list[str]) -> DistributedOptimizer:
    """Wrap the rules: note every call in `calls`, and check those whose values are at hand."""
    messages: list[Any] = []

    def commit(arguments: Any, result: Any) -> None:
        message, state = result
        messages.append(_spec(message))
        assert messages[0] == messages[-1], f"commit: the message was {messages[0]} and becomes {messages[-1]}"
        _keeps("commit: the worker's state", arguments[1], state)

    def adopt(arguments: Any, result: Any) -> None:
        _keeps("adopt: the parameters", arguments[1].start, result[0])
        _keeps("adopt: the worker's state", arguments[2], result[1])

    def update(arguments: Any, result: Any) -> None:
        assert isinstance(result, RuleUpdate), f"update returns {type(result)}, no distopt.rules.Update"
        q = len(arguments[0].worker)
        _keeps("update: the center", arguments[2], result.center)
        _keeps("update: the server's state", arguments[1], result.state)
        for reply in jax.tree.leaves(result.replies):
            assert jnp.shape(reply)[:1] == (q,), f"update: replies of shape {jnp.shape(reply)} need a leading axis {q}"
        for name, value in result.metrics.items():
            assert jnp.shape(value) in ((), (q,)), f"update: metric {name} of shape {jnp.shape(value)}, not () or ({q},)"

    worker, server = optimizer.worker, optimizer.server
    return optimizer._replace(
        worker=worker._replace(
            commit=_watch("commit", worker.commit, commit, calls), adopt=_watch("adopt", worker.adopt, adopt, calls)
        ),
        server=server._replace(update=_watch("update", server.update, update, calls)),
    )


def _watch(
    name: str, rule: Callable[..., Any], inspection: Callable[[Any, Any], None], calls: list[str]
) -> Callable[..., Any]:
    def watched(*arguments: Any) -> Any:
        calls.append(name)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments)):
            return rule(*arguments)
        before = jax.tree.map(np.array, arguments)
        result = rule(*arguments)
        assert _same(before, arguments), f"{name} changes its inputs; rules are pure functions"
        assert _same(result, rule(*arguments)), f"{name} gives another result the second time; rules are pure functions"
        inspection(arguments, result)
        return result

    return watched


def _spec(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), tree)


def _keeps(what: str, before: Any, after: Any) -> None:
    assert _spec(before) == _spec(after), f"{what} must keep its structure, shapes and dtypes: {_spec(before)} became {_spec(after)}"


def _same(a: Any, b: Any) -> bool:
    """Return whether two pytrees hold the same bits in the same structure."""
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.array_equal(x, y, equal_nan=True) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )
