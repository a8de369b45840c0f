"""Local optimizers by name: their YAML fits, they do what they are called, and unknown settings are refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt import config, local
from distopt.errors import ConfigError


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


@pytest.mark.parametrize("norm", [0, -1, "some", True])
def test_norms_that_make_no_sense(norm: Any) -> None:
    with pytest.raises(ConfigError, match=r"local\.clip_norm="):
        local.build({"name": "sgd", "learning_rate": 0.1, "clip_norm": norm})


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
