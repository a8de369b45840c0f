"""Activations, norms and dropout; and the statistics of batch normalisation, computed anew for the center."""

from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distopt
from distopt import models
from distopt.adapters.linen import linen_task
from distopt.errors import ConfigError
from distopt.models.mlp import ACTIVATIONS, NORMS, maxout
from distopt.training import statistics
from distopt.training.evaluation import Evaluator
from tests.launchers.test_replay import center
from tests.marks import slow

X = np.random.default_rng(0).normal(3, 2, size=(64, 6)).astype(np.float32)
Y = (np.arange(64) % 3).astype(np.int32)


def build(**settings: Any) -> Any:
    task = models.build({"name": "mlp", "hidden": [8]} | settings, (6,), 3)
    return task, *task.init(jax.random.key(0))


def test_maxout_takes_the_larger_of_two_pieces() -> None:
    assert maxout(jnp.array([[1.0, 2, -3, -4]])).tolist() == [[2, -3]]
    _, params, _ = build(activation="maxout")
    assert params["Dense_0"]["kernel"].shape == (6, 16)
    assert params["Dense_1"]["kernel"].shape == (8, 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("norm", NORMS)
def test_every_combination_has_a_finite_gradient(activation: str, norm: str) -> None:
    task, params, state = build(activation=activation, norm=norm, dropout=0.5, dropout_input=0.2)
    loss, gradient = jax.value_and_grad(lambda p: task.loss(p, state, (X, Y), jax.random.key(1))[0])(params)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in [loss, *jax.tree.leaves(gradient)])
    assert task.loss(params, state, (X, Y), None)[0] == task.loss(params, state, (X, Y), None)[0]


def test_dropped_inputs_are_dropped_in_training_only() -> None:
    task, params, state = build(dropout_input=0.5)
    first, second = (float(task.loss(params, state, (X, Y), key)[0]) for key in jax.random.split(jax.random.key(1)))
    assert first != second
    plain, *_ = build()
    assert float(task.loss(params, state, (X, Y), None)[0]) == float(plain.loss(params, state, (X, Y), None)[0])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_statistics_of_a_batch_are_those_of_numpy(dropout: float) -> None:
    """Of the first hidden layer, whose inputs are known; dropout does not reach them."""
    task, params, state = build(norm="batch", dropout=dropout, dropout_input=dropout)
    found = task.refresh(params, state, (X, Y))["batch_stats"]["BatchNorm_0"]
    inputs = X @ np.asarray(params["Dense_0"]["kernel"]) + np.asarray(params["Dense_0"]["bias"])
    np.testing.assert_allclose(found["mean"], inputs.mean(axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["var"], inputs.var(axis=0), rtol=1e-3)
    batches = (X.reshape(4, 16, 6), Y.reshape(4, 16))
    means = [inputs[16 * i : 16 * i + 16].mean(axis=0) for i in range(4)]
    averaged = statistics.of_one(task, params, state, batches)["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(averaged["mean"], np.mean(means, axis=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.999])
def test_the_momentum_of_somebodys_norm_makes_no_difference(momentum: float) -> None:
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, train: Any) -> jax.Array:
            return nn.Dense(3)(nn.BatchNorm(use_running_average=not train, momentum=momentum)(x))

    task = linen_task(Net(), (6,))
    assert task.refresh is not None
    params, state = task.init(jax.random.key(0))
    found = task.refresh(params, state, (X, Y))["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(found["mean"], X.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(found["var"], X.var(axis=0), rtol=1e-3)


RUN = ["workers=4", "epochs=15", "model.norm=batch", "evaluate.points=2", "local=sgd"]
RUN += ["local.learning_rate=0.05"]


@pytest.mark.parametrize("partition", ["iid", slow("label")])
def test_the_center_is_evaluated_with_statistics_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partition: str
) -> None:
    """With those it was initialized with, its accuracy would say little of what it has learnt."""
    overrides = [*RUN, "launcher=sim", "optimizer=averaging", f"dataset.partition={partition}"]
    right = distopt.run([*overrides, f"output={tmp_path / 'right'}"])
    monkeypatch.setattr(Evaluator, "_state", lambda self, params, members: self._model_state)
    initial = distopt.run([*overrides, f"output={tmp_path / 'initial'}"])
    assert center(right) == center(initial)  # evaluation changes nothing of training
    accuracy, poor = (run.evals["accuracy"].iloc[-1] for run in (right, initial))
    assert accuracy > (0.9 if partition == "iid" else 0.6)
    assert poor < accuracy - 0.1


@pytest.mark.parametrize("optimizer", ["adag", slow("easgd"), slow("ensemble")])
def test_both_engines_and_a_replay_agree(tmp_path: Path, optimizer: str) -> None:
    overrides = [*RUN, "epochs=3", f"optimizer={optimizer}", f"output={tmp_path}"]
    one, other = (distopt.run([*overrides, "launcher=sim", f"launcher.width={width}"]) for width in (1, 4))
    np.testing.assert_allclose(other.evals["loss"], one.evals["loss"], rtol=1e-3)
    again = distopt.run([*overrides, "launcher=replay", f"launcher.trace={one.folder}"])
    assert center(again) == center(one)
    np.testing.assert_array_equal(again.evals["loss"].iloc[-2:], one.evals["loss"].iloc[-2:])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model.norm=group"], "model.norm=group must be one of none, batch, layer"),
        (["model.activation=[relu]"], r"model.activation=\['relu'\] must be one of relu"),
        (["model.activation=swish"], "model.activation=swish must be one of relu, tanh, gelu, maxout"),
        (["model.dropout_input=1"], r"model.dropout_input=1 must be in \[0, 1\)"),
        (["model.norm=batch", "batch_size=1"], "model.norm=batch: a batch of one sample has no spread"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        distopt.run(["launcher=sim", f"output={tmp_path}", *overrides])
