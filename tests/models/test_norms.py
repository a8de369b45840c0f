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
from distopt.models.norms import divisor, inverse_root, norm
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


def test_a_compiler_loses_no_part_of_the_gradient_of_maxout() -> None:
    """Of `max`, a few rows lost a third of it; it must be the slope along every axis, so also along their diagonal."""
    task, params, state = build(activation="maxout", norm="batch", hidden=[5, 4])
    loss = jax.jit(lambda p: task.loss(p, state, (X[:9], Y[:9]), jax.random.key(1))[0])
    gradient = jax.jit(jax.grad(loss))(params)
    up, down = (float(loss(jax.tree.map(lambda leaf, h=h: leaf + h, params))) for h in (1e-3, -1e-3))
    assert (up - down) / 2e-3 == pytest.approx(sum(float(leaf.sum()) for leaf in jax.tree.leaves(gradient)), rel=0.02)


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


@pytest.mark.parametrize(("features", "size"), [(8, 8), (16, 8), (64, 8), (256, 8), (1024, 32), (5, 5), (26, 13)])
def test_groups_are_many_and_none_is_small(features: int, size: int) -> None:
    """A group of few features would lose what they say; the spread of each group is one."""
    x = np.random.default_rng(0).normal(size=(2, features)).astype(np.float32) * np.linspace(1, 9, features)
    y = np.asarray(jax.jit(lambda: Normed("group").init_with_output(jax.random.key(0), x, train=False)[0])())
    groups = y.reshape(2, -1, size)
    np.testing.assert_allclose(groups.mean(axis=2), 0, atol=1e-5)
    np.testing.assert_allclose(groups.std(axis=2), 1, rtol=1e-3)


def test_divisors() -> None:
    assert [divisor(64, 16), divisor(30, 16), divisor(17, 16), divisor(7, 0), divisor(12, 12)] == [16, 15, 1, 1, 12]


class Normed(nn.Module):
    """A norm and nothing else."""

    name_of_norm: str

    @nn.compact
    def __call__(self, x: jax.Array, train: Any) -> jax.Array:
        return norm(self.name_of_norm, x, train)


def spread_out(condition: float) -> np.ndarray:
    """A covariance of 16 features with eigenvalues from 1 to `condition`, in no direction of the axes."""
    directions, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))
    return (directions * np.geomspace(1, condition, 16)) @ directions.T


@pytest.mark.parametrize("condition", [1, 10, 1e4])
def test_roots_are_those_of_the_source_and_with_more_steps_exact(condition: float) -> None:
    covariance = spread_out(condition)
    p = np.eye(16)
    for _ in range(5):
        p = 1.5 * p - 0.5 * p @ p @ p @ covariance / np.trace(covariance)
    five, many = (np.asarray(inverse_root(jnp.asarray(covariance, jnp.float32), steps)) for steps in (5, 25))
    np.testing.assert_allclose(five, p / np.trace(covariance) ** 0.5, atol=1e-6)
    np.testing.assert_allclose(many @ covariance @ many, np.eye(16), atol=1e-3)


def test_whitened_groups_are_nearly_uncorrelated() -> None:
    x = np.random.default_rng(1).normal(size=(400, 32)).astype(np.float32)
    x[:, :16] = x[:, :16] @ np.linalg.cholesky(spread_out(4)).T + 7
    module = Normed("whitening")
    variables = module.init(jax.random.key(0), x, train=False)
    y, state = module.apply(variables, x, train=True, mutable=["batch_stats"])
    for group in (y[:, :16], y[:, 16:]):
        np.testing.assert_allclose(group.mean(axis=0), 0, atol=1e-4)
        values = np.linalg.eigvalsh(np.cov(group.T))
        assert 0.7 < values.min() < values.max() < 1.01
    moved = jax.tree.map(lambda new, old: 100 * new - 99 * old, state, {"batch_stats": variables["batch_stats"]})
    again = module.apply({**variables, **moved}, x, train=False)  # running averages are linear: the batch's own, here
    np.testing.assert_allclose(again, y, atol=2e-2)


def test_statistics_of_whitening_are_those_of_the_batches() -> None:
    task, params, state = build(norm="whitening", dropout=0.5)
    found = task.refresh(params, state, (X, Y))
    inputs = X @ np.asarray(params["Dense_0"]["kernel"]) + np.asarray(params["Dense_0"]["bias"])
    kept = found["batch_stats"]["Whitening_0"]
    covariance = np.cov(inputs.T, bias=True) + 1e-5 * np.eye(8)
    np.testing.assert_allclose(kept["mean"], inputs.mean(axis=0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(kept["matrix"][0], inverse_root(jnp.asarray(covariance)), rtol=1e-3, atol=1e-3)
    batches = (X.reshape(4, 16, 6), Y.reshape(4, 16))
    each = [
        task.refresh(params, state, (x, y))["batch_stats"]["Whitening_0"]["matrix"]
        for x, y in zip(*batches, strict=True)
    ]
    averaged = statistics.of_one(task, params, state, batches)["batch_stats"]["Whitening_0"]["matrix"]
    np.testing.assert_allclose(averaged, np.mean(each, axis=0), rtol=1e-3, atol=1e-4)


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


@pytest.mark.parametrize(("norm", "partition"), [("batch", "iid"), slow("batch", "label"), slow("whitening", "iid")])
def test_the_center_is_evaluated_with_statistics_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: str, partition: str
) -> None:
    """With those it was initialized with, its accuracy would say little of what it has learnt."""
    overrides = [*RUN, "launcher=sim", "optimizer=averaging", f"dataset.partition={partition}", f"model.norm={norm}"]
    right = distopt.run([*overrides, f"output={tmp_path / 'right'}"])
    monkeypatch.setattr(Evaluator, "_state", lambda self, params, members: self._model_state)
    initial = distopt.run([*overrides, f"output={tmp_path / 'initial'}"])
    assert center(right) == center(initial)  # evaluation changes nothing of training
    accuracy, poor = (run.evals["accuracy"].iloc[-1] for run in (right, initial))
    assert accuracy > (0.9 if partition == "iid" else 0.6)
    assert poor < accuracy - 0.1


@pytest.mark.parametrize(
    ("optimizer", "norm"),
    [("adag", "batch"), slow("easgd", "batch"), slow("ensemble", "batch"), slow("adag", "whitening")],
)
def test_both_engines_and_a_replay_agree(tmp_path: Path, optimizer: str, norm: str) -> None:
    overrides = [*RUN, "epochs=3", f"optimizer={optimizer}", f"model.norm={norm}", f"output={tmp_path}"]
    one, other = (distopt.run([*overrides, "launcher=sim", f"launcher.width={width}"]) for width in (1, 4))
    np.testing.assert_allclose(other.evals["loss"], one.evals["loss"], rtol=1e-3)
    again = distopt.run([*overrides, "launcher=replay", f"launcher.trace={one.folder}"])
    assert center(again) == center(one)
    np.testing.assert_array_equal(again.evals["loss"].iloc[-2:], one.evals["loss"].iloc[-2:])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model.norm=instance"], "model.norm=instance must be one of none, batch, layer, group, whitening"),
        (["model.activation=[relu]"], r"model.activation=\['relu'\] must be one of relu"),
        (["model.activation=swish"], "model.activation=swish must be one of relu, tanh, gelu, maxout"),
        (["model.dropout_input=1"], r"model.dropout_input=1 must be in \[0, 1\)"),
        (["model.norm=batch", "batch_size=1"], "model.norm=batch: a batch of one sample has no spread"),
        (["model.norm=whitening", "batch_size=1"], "model.norm=whitening: a batch of one .* or model.norm=group"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        distopt.run(["launcher=sim", f"output={tmp_path}", *overrides])
