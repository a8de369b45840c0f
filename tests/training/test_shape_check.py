"""Rules of others that do not keep to their shapes are refused before anything starts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from distopt.config import compose, validate
from distopt.errors import ConfigError
from distopt.optimizers.downpour import downpour
from distopt.rules import DistributedOptimizer, Window
from distopt.tasks import Task, classes
from distopt.training import shape_check
from distopt.training.experiment import Experiment, build
from tests.small import blobs
from tests.small import experiment as small

Change = Callable[[DistributedOptimizer], DistributedOptimizer]


def worker(**rules: Any) -> Change:
    return lambda it: it._replace(worker=it.worker._replace(**rules))


def server(change: Callable[[Any], Any]) -> Change:
    def update(it: DistributedOptimizer) -> DistributedOptimizer:
        rule = it.server
        return it._replace(server=rule._replace(update=lambda *given: change(rule.update(*given))))

    return update


def halves(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float16), tree)


SPOILT: dict[str, tuple[Change, str]] = {
    "dtype": (
        server(lambda u: u._replace(center=halves(u.center))),
        "change the center: x is float16(2,) instead of fl",
    ),
    "structure": (server(lambda u: u._replace(center=u.center["x"])), "change the center: PyTreeDef"),
    "state": (worker(commit=lambda window, state: (window.end, window.end)), "change the worker's state: PyTreeDef"),
    "shape": (
        worker(adopt=lambda reply, window, state: ({"x": reply["x"][:1]}, state)),
        "parameters: x is float32(1,)",
    ),
    "bug": (worker(commit=lambda window, state: window.nothing), "rules cannot be traced ('Window' object has no attr"),
}


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """With an optimizer that is none of the packaged ones."""
    settings = ["optimizer=downpour", "launcher=sim", "model=booth", "dataset=none", "stop.updates=1"]
    built = build(validate(compose(settings)))
    shape_check.check(built)
    monkeypatch.setattr(shape_check, "factory", lambda name: worker)
    shape_check.check(built)
    return built


@pytest.mark.parametrize("name", SPOILT)
def test_rules_that_change_shapes_are_refused(name: str, experiment: Experiment) -> None:
    change, told = SPOILT[name]
    with pytest.raises(ConfigError) as caught:
        shape_check.check(experiment._replace(optimizer=change(downpour())))
    assert told in str(caught.value)
    assert str(caught.value).startswith("optimizer=downpour: its rules")


def test_a_rule_may_read_all_that_a_window_tells(experiment: Experiment) -> None:
    def commit(window: Window, state: Any) -> tuple[Any, Any]:
        told = window.loss + window.steps + jax.random.uniform(window.key)
        return jax.tree.map(lambda start, end: (end - start) * told, window.start, window.end), state

    shape_check.check(experiment._replace(optimizer=worker(commit=commit)(downpour())))


def tiny(forward: Callable[..., Any], params: Any = None, measure: Callable[..., Any] = classes.measure) -> Experiment:
    """With a model that is none of the packaged ones, on two classes."""
    it = small("agn", data=blobs(), model={"name": "mlp", "hidden": []})
    begin = {"w": jnp.ones((2, 2))} if params is None else params
    task = Task(lambda key: (begin, {"seen": jnp.zeros(())}), forward, measure, classes.METRICS)
    return it._replace(model=task, config={**it.config, "model": {"name": "mine"}})


def fits(params: Any, state: Any, batch: Any, key: Any) -> tuple[Any, Any]:
    return batch[0] @ params["w"], state


def without_hits(outputs: Any, batch: Any) -> Any:
    return {"loss": classes.measure(outputs, batch)["loss"]}


MODELS: dict[str, tuple[Experiment, str]] = {
    "outputs": (
        tiny(lambda p, s, b, k: (fits(p, s, b, k)[0][:, :1], s)),
        "its outputs for a batch are (32, 1), the data need (32, 2)",
    ),
    "state": (
        tiny(lambda p, s, b, k: (fits(p, s, b, k)[0], {})),
        "it changes the model state: PyTreeDef({}) instead of PyTreeDef({'seen': *})",
    ),
    "bug": (tiny(lambda p, s, b, k: (b[0] @ p["v"], s)), "it cannot be traced ('v')"),
    "whole": (tiny(fits, {"w": jnp.ones((2, 2), int)}), "its parameter w is int32, which no step can change"),
    "sums": (tiny(fits, measure=without_hits), "what it measures is not as its metrics say: PyTreeDef({'loss'"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_do_not_fit_are_refused(name: str) -> None:
    spoilt, told = MODELS[name]
    with pytest.raises(ConfigError) as caught:
        shape_check.check(spoilt)
    assert str(caught.value).startswith(f"model=mine: {told}")
    shape_check.check(tiny(fits))
