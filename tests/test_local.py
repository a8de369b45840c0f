"""Local optimizers by name: their YAML fits, they do what they are called, and unknown settings are refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distopt import config, local
from distopt.errors import ConfigError
from distopt.testing import train
from tests.small import SGD, blobs, experiment


def steps(settings: dict[str, Any], gradients: list[float]) -> list[float]:
    """The updates of one parameter under a sequence of gradients."""
    tx, params = local.build(settings), jnp.ones(1)
    state, updates = tx.init(params), []
    for gradient in gradients:
        update, state = tx.update(jnp.full(1, gradient), state, params)
        updates.append(float(update[0]))
    return updates


def test_every_method_has_a_yaml() -> None:
    assert set(local.MAKERS) == set(config.choices("local"))


@pytest.mark.parametrize("name", local.MAKERS)
def test_yaml_builds_and_descends(name: str) -> None:
    settings = dict(config.compose([f"local={name}"])["local"])
    assert settings["name"] == name
    assert settings["on_pull"] == "keep"
    assert all(update < 0 for update in steps(settings, [1.0, 1.0]))
    with pytest.raises(ConfigError, match=f"local={name}: .*surprise"):
        local.build(settings | {"surprise": 1})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "sgd", "learning_rate": 0.1}, [-0.1 * 2, -0.1 * 1]),
        ({"name": "momentum", "learning_rate": 0.1, "momentum": 0.5}, [-0.1 * 2, -0.1 * (0.5 * 2 + 1)]),
        # the momentum m ← 0.5 m + g is 2, then 2; the step is −0.1 (0.5 m + g)
        ({"name": "nesterov", "learning_rate": 0.1, "momentum": 0.5}, [-0.1 * (0.5 * 2 + 2), -0.1 * (0.5 * 2 + 1)]),
        # Σ g² from 0 is 4, then 5
        (
            {"name": "adagrad", "learning_rate": 0.1, "initial_accumulator_value": 0.0, "eps": 0.0},
            [-0.1 * 2 / 4**0.5, -0.1 * 1 / 5**0.5],
        ),
        # the mean of g² is 0.5 · 4 = 2, then 0.5 · 2 + 0.5 · 1 = 1.5
        ({"name": "rmsprop", "learning_rate": 0.1, "decay": 0.5, "eps": 0.0}, [-0.1 * 2 / 2**0.5, -0.1 / 1.5**0.5]),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_steps(settings: dict[str, Any], expected: list[float]) -> None:
    np.testing.assert_allclose(steps(settings, [2.0, 1.0]), expected, rtol=1e-5)


def test_gradients_are_clipped_before_anything_else() -> None:
    """The norm of (3, 4) is 5; momentum then sums what is left of it."""
    settings = {"name": "momentum", "learning_rate": 0.1, "momentum": 0.5, "clip_norm": 2.5}
    tx, params = local.build(settings), {"a": jnp.ones(1), "b": jnp.ones(1)}
    state = tx.init(params)
    for expected in ([-0.15, -0.2], [-0.225, -0.3]):
        update, state = tx.update({"a": jnp.full(1, 3.0), "b": jnp.full(1, 4.0)}, state, params)
        np.testing.assert_allclose([float(update["a"][0]), float(update["b"][0])], expected, rtol=1e-6)
    assert steps(settings, [1.0]) == steps(settings | {"clip_norm": None}, [1.0])


def test_incoming_weights_are_projected_after_the_step_and_nothing_else_is() -> None:
    """Columns of a dense kernel, and features of a convolution; biases and vectors called kernel are no units."""
    tx = local.build({"name": "adam", "learning_rate": 0.5, "clip_norm": 1.0, "max_norm": 2.0})
    free = local.build({"name": "adam", "learning_rate": 0.5, "clip_norm": 1.0})
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "bias": (4,), "conv": (3, 3, 2, 4), "embedding": (5, 4), "vector": (9,)}
    flat = {name: (3 * rng.normal(size=shape) * [0.02, 0.1, 1, 3][: shape[-1]]).astype(np.float32)
            for name, shape in shapes.items() if name != "vector"}  # fmt: skip
    params = {"dense": {"kernel": flat["kernel"], "bias": flat["bias"]}, "conv": {"kernel": flat["conv"]}}
    params |= {"embedding": flat["embedding"], "vector": {"kernel": np.full(9, 3, np.float32)}}
    gradient = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), params)
    inside, outside = (
        optax.apply_updates(params, method.update(gradient, method.init(params), params)[0]) for method in (tx, free)
    )
    for name in ("dense", "conv"):
        far = np.asarray(outside[name]["kernel"]).reshape(-1, 4)
        norms = np.linalg.norm(far, axis=0)
        assert norms.min() < 2 < norms.max()
        expected = far * np.minimum(1, 2 / norms)
        np.testing.assert_allclose(np.asarray(inside[name]["kernel"]).reshape(-1, 4), expected, rtol=1e-5, atol=1e-6)
        inside[name].pop("kernel")
        outside[name].pop("kernel")
    jax.tree.map(np.testing.assert_array_equal, inside, outside)


def test_the_mean_of_workers_keeps_the_bound_and_a_model_without_units_is_refused() -> None:
    bounded = SGD | {"learning_rate": 1.0, "max_norm": 0.7}
    task = {"model": {"name": "logistic"}, "data": blobs(), "batch_size": 4}
    order = [0, 1, 2] * 10
    found, free = (
        np.linalg.norm(
            train(experiment("averaging", workers=3, local=each, **task), order).center["Dense_0/kernel"], axis=0
        )
        for each in (bounded, bounded | {"max_norm": None})
    )
    assert 0.6 < found.max() < 0.7001
    assert free.max() > 1
    with pytest.raises(ConfigError, match=r"local.max_norm=0.7: model=booth has no layers of units"):
        experiment("averaging", local=bounded)


@pytest.mark.parametrize("key", ["clip_norm", "max_norm"])
@pytest.mark.parametrize("norm", [0, -1, "some", True])
def test_norms_that_make_no_sense(key: str, norm: Any) -> None:
    with pytest.raises(ConfigError, match=rf"local\.{key}="):
        local.build({"name": "sgd", "learning_rate": 0.1, key: norm})


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_starts_with_a_step_of_the_learning_rate(name: str) -> None:
    settings = {"name": name, "learning_rate": 0.1, "b1": 0.9, "b2": 0.999, "eps": 1e-8}
    settings |= {"weight_decay": 0.5} if name == "adamw" else {}
    decay = 0.1 * 0.5 if name == "adamw" else 0.0
    assert steps(settings, [7.0])[0] == pytest.approx(-0.1 - decay, rel=1e-5)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ConfigError, match=r"local.name=lion: .*adamw"):
        local.build({"name": "lion", "learning_rate": 0.1})


def test_decay_is_decoupled_and_reaches_the_named_parameters() -> None:
    """Momentum sums gradients without the decay: the second step has 0.1 (0.5 + 1) of gradients and 0.1 · 0.3 θ."""
    settings = {"name": "momentum", "learning_rate": 0.1, "momentum": 0.5, "weight_decay": 0.3, "decayed": ["*/kernel"]}
    tx, params = local.build(settings), {"a": {"kernel": jnp.full(1, 2.0), "bias": jnp.full(1, 2.0)}}
    state = tx.init(params)
    for expected in (-0.1, -0.15):
        update, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        np.testing.assert_allclose(float(update["a"]["kernel"][0]), expected - 0.1 * 0.3 * 2, rtol=1e-6)
        np.testing.assert_allclose(float(update["a"]["bias"][0]), expected, rtol=1e-6)


def test_adamw_decays_the_named_parameters_alone() -> None:
    settings = {"name": "adamw", "learning_rate": 0.1, "b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.5}
    params = {"kernel": jnp.full(1, 3.0), "bias": jnp.full(1, 3.0)}
    for decayed, expected in ((None, (-0.25, -0.25)), (["kernel"], (-0.25, -0.1))):
        tx = local.build(settings | {"decayed": decayed})
        update, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
        found = [float(update[name][0]) for name in ("kernel", "bias")]
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("key", "value"), [("weight_decay", -1), ("decayed", []), ("decayed", "kernel")])
def test_decays_that_make_no_sense(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"local\.{key}="):
        local.build({"name": "sgd", "learning_rate": 0.1, key: value})
