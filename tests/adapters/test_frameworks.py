"""Models of every framework, as the documentation shows them: they train, are repeated, and drop in training only."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import distopt
from distopt import models
from distopt.adapters.plain import plain_task
from distopt.errors import ConfigError
from distopt.records import ACCURACY
from distopt.tasks import Task
from tests.adapters import documented
from tests.adapters.documented import FRAMEWORKS
from tests.launchers.test_replay import center
from tests.marks import quick

RNG = np.random.default_rng(0)
X = RNG.normal(3, 2, size=(64, 6)).astype(np.float32)
Y = (np.arange(64) % 3).astype(np.int32)
NUMBERS = (X @ RNG.normal(size=6)).astype(np.float32)
NORMS = FRAMEWORKS[:3]  # those with batch normalisation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("own")
    assert documented.write(folder) == [*FRAMEWORKS, "own_loss"]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder))  # for worker processes
        yield folder


def build(name: str, classes: int = 3, kind: Any = "classes") -> tuple[Task, Any, Any]:
    task = models.build({"name": f"{name}:net", "width": 32}, (6,), classes, kind)
    return task, *task.init(jax.random.key(0))


@pytest.mark.parametrize("name", FRAMEWORKS)
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_a_model_learns(folder: Path, name: str, kind: str) -> None:
    classes, y = (3, Y) if kind == "classes" else (1, NUMBERS / NUMBERS.std())
    task, params, state = build(name, classes, kind)

    @jax.jit
    def step(params: Any, state: Any, key: jax.Array) -> tuple[Any, Any, Any]:
        (loss, (state, _)), g = jax.value_and_grad(task.loss, has_aux=True)(params, state, (X, y), key)
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, g), state, loss

    first = task.loss(params, state, (X, y), None)[0]
    for i in range(40):
        params, state, _ = step(params, state, jax.random.key(i))
    fresh = task.refresh(params, state, (X, y)) if task.refresh else state
    sums = task.measure(task.forward(params, fresh, (X, y), None)[0], (X, y))
    assert set(task.finish(sums, np)) == {metric.name for metric in task.metrics}
    assert float(sums["loss"][0] / sums["loss"][1]) < first
    if name in NORMS:
        assert float(sums["loss"][0] / sums["loss"][1]) < (1.0 if kind == "classes" else 0.4)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_units_are_dropped_anew_at_every_step_and_never_in_evaluation(folder: Path, name: str) -> None:
    task, params, state = build(name)
    loss = jax.jit(lambda key: task.loss(params, state, (X, Y), key)[0])
    first, again, second = (float(loss(jax.random.key(i))) for i in (1, 1, 2))
    assert first == again != second
    rows = np.concatenate([X, X])  # the same sample drops other units at another place of the batch
    outputs = task.forward(params, state, (rows,), jax.random.key(1))[0]
    assert not np.array_equal(outputs[:64], outputs[64:])
    for key in (None, None):
        evaluated, same = task.forward(params, state, (rows,), key)
        np.testing.assert_array_equal(evaluated[:64], evaluated[64:])
        assert same is state


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_parameters_have_names_and_follow_the_seed(folder: Path, name: str) -> None:
    task, params, _ = build(name)
    again, other = (task.init(jax.random.key(seed))[0] for seed in (0, 1))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, params, again)))
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, params, other)))
    names = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in jax.tree.leaves_with_path(params)]
    assert len({*names}) == len(names)
    assert any("out" in each or "Dense_1" in each for each in names)


@pytest.mark.parametrize("name", NORMS)
def test_statistics_are_those_of_numpy(folder: Path, name: str) -> None:
    """Running averages move in training; for the center they are those of the batch, and nothing is dropped."""
    task, params, state = build(name)
    flat = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree.leaves_with_path(params)}
    first = {path: leaf for path, leaf in flat.items() if "Dense_0" in path or "hidden" in path}
    (bias,) = (leaf for leaf in first.values() if leaf.ndim == 1)
    (weights,) = (leaf for leaf in first.values() if leaf.ndim == 2)
    inputs = X @ (weights if weights.shape[0] == 6 else weights.T) + bias
    _, moved = task.forward(params, state, (X, Y), jax.random.key(1))
    assert jax.tree.structure(moved) == jax.tree.structure(state)
    assert not all(jax.tree.leaves(jax.tree.map(np.array_equal, moved, state)))
    assert task.refresh is not None
    mean, variance = (leaf for leaf in jax.tree.leaves(task.refresh(params, state, (X, Y))) if leaf.ndim)
    np.testing.assert_allclose(mean, inputs.mean(axis=0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(variance, inputs.var(axis=0), rtol=2e-3)


@pytest.mark.parametrize("name", quick(FRAMEWORKS, ["own_nnx", "own_equinox"]))
def test_a_run_in_virtual_time_is_repeated(folder: Path, name: str) -> None:
    run = documented.run(folder, name, "launcher=sim", "optimizer=adag", "epochs=3")
    losses = run.evals.loc[run.evals["split"] == "validation", "loss"].to_list()
    assert losses[0] < 5 * math.log(10)
    assert losses[-1] < 0.95 * losses[0]
    again = documented.run(
        folder, name, "launcher=replay", f"launcher.trace={run.folder}", "optimizer=adag", "epochs=3"
    )
    assert center(again) == center(run)
    np.testing.assert_array_equal(again.evals["loss"].iloc[-2:], run.evals["loss"].iloc[-2:])


def test_a_run_that_was_cut_off_goes_on_with_the_same_bits(folder: Path) -> None:
    """Also the state of the local method and of the model, which an Equinox module keeps by names of its own."""
    overrides = ["launcher=sim", "optimizer=adag", "epochs=3", "checkpoint.every=5", "evaluate.every=10"]
    whole = documented.run(folder, "own_equinox", *overrides)
    expected = center(whole)
    (whole.folder / "model.npz").unlink()
    (whole.folder / "summary.json").unlink()
    (whole.folder / "run.json").write_text(json.dumps(whole.info | {"status": "running"}))
    again = distopt.run([f"resume={whole.folder}"])
    assert again.info["resumed"]
    assert center(again) == expected


@pytest.mark.ray
@pytest.mark.slow
def test_real_processes_train_a_model_and_are_repeated(folder: Path) -> None:
    overrides = ["optimizer=downpour", "epochs=2"]
    run = documented.run(folder, "own_nnx", "launcher=ray", "launcher.workers_per_actor=2", *overrides)
    assert run.status == "done", run.info["reason"]
    again = documented.run(folder, "own_nnx", "launcher=replay", f"launcher.trace={run.folder}", *overrides)
    assert center(again) == center(run)


def test_a_loss_and_metrics_of_ones_own(folder: Path) -> None:
    task = models.build({"name": "own_loss:net"}, (6,), 1, "numbers")
    params, state = task.init(jax.random.key(0))
    y = np.linspace(-1, 1, 64, dtype=np.float32)
    sums = task.measure(task.forward(params, state, (X, y), None)[0], (X, y))
    told = task.finish(sums, np)
    assert [metric.name for metric in task.metrics] == ["close", "loss"] == list(told)[::-1]
    assert float(told["close"]) == (np.abs(y) < 0.5).mean()
    np.testing.assert_allclose(told["loss"], (y**2 / 2).mean(), rtol=1e-5)
    with pytest.raises(ConfigError, match="metrics are given together with a loss"):
        models.build({"name": "tests.adapters.test_frameworks:without_loss"}, (6,), 3)


def without_loss(*, shape: tuple[int, ...], classes: int) -> Task:
    return plain_task(lambda key: {}, lambda params, x: x, shape, metrics={ACCURACY: lambda outputs, batch: outputs})
