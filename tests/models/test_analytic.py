"""Analytic functions: known values, minima and gradients, and the noise on them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt import models
from distopt.errors import ConfigError
from distopt.tasks import Task

EXACT = {"noise": 0.0}


def build(name: str, start: list[float], **settings: Any) -> Task:
    extra = {"curvatures": [1.0, 10.0]} if name == "quadratic" else {}
    return models.build({"name": name, "start": start, **EXACT, **extra, **settings}, None, None)


def at(model: Task, key: jax.Array | None = None) -> tuple[float, np.ndarray]:
    """The value and the gradient where the model starts."""
    params, state = model.init(jax.random.key(0))
    (value, _), gradient = jax.value_and_grad(model.loss, has_aux=True)(params, state, (), key)
    return float(value), np.array(gradient["x"])


@pytest.mark.parametrize(
    ("name", "start", "value", "gradient"),
    [
        ("beale", [3.0, 0.5], 0.0, [0.0, 0.0]),
        ("beale", [0.0, 0.0], 1.5**2 + 2.25**2 + 2.625**2, [-2 * (1.5 + 2.25 + 2.625), 0.0]),
        ("beale", [1.0, 1.0], 1.5**2 + 2.25**2 + 2.625**2, [0.0, 2 * (1.5 * 1 + 2.25 * 2 + 2.625 * 3)]),
        ("booth", [1.0, 3.0], 0.0, [0.0, 0.0]),
        ("booth", [0.0, 0.0], 7**2 + 5**2, [-2 * 7 - 4 * 5, -4 * 7 - 2 * 5]),
        ("rosenbrock", [1.0, 1.0], 0.0, [0.0, 0.0]),
        ("rosenbrock", [0.0, 1.0], 1 + 100, [-2.0, 200.0]),
        ("rosenbrock", [2.0, 3.0], 1 + 100, [-2 * -1 - 400 * 2 * -1, 200 * -1]),
        ("quadratic", [0.0, 0.0], 0.0, [0.0, 0.0]),
        ("quadratic", [3.0, -2.0], 0.5 * 9 + 0.5 * 10 * 4, [3.0, -20.0]),
    ],
)
def test_values_and_gradients(name: str, start: list[float], value: float, gradient: list[float]) -> None:
    actual = at(build(name, start))
    assert actual[0] == pytest.approx(value, rel=1e-6, abs=1e-12)
    np.testing.assert_allclose(actual[1], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", models.ANALYTIC)
def test_noise_has_the_given_standard_deviation_and_no_bias(name: str) -> None:
    model, sigma, draws = build(name, [0.3, 0.7], noise=0.4), 0.4, 5000
    params, state = model.init(jax.random.key(0))
    gradient = jax.grad(lambda p, key: model.loss(p, state, (), key)[0])
    keys = jax.random.split(jax.random.key(1), draws)
    noise = np.array(jax.vmap(lambda key: gradient(params, key)["x"])(keys)) - at(build(name, [0.3, 0.7]))[1]
    np.testing.assert_allclose(noise.std(axis=0), sigma, rtol=0.05)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=4 * sigma / draws**0.5)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 4 / draws**0.5


def test_evaluation_is_exact() -> None:
    assert at(build("booth", [0.0, 0.0], noise=5.0))[0] == 74
    assert at(build("booth", [1.0, 1.0], noise=5.0), jax.random.key(0))[0] != at(build("booth", [1.0, 1.0]))[0]


def test_there_is_no_accuracy() -> None:
    model = build("booth", [0.0, 0.0])
    _, (_, sums) = model.loss({"x": jnp.zeros(2)}, {}, (), None)
    assert list(sums) == [metric.name for metric in model.metrics] == ["loss"]


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("booth", {"start": [1.0]}, "list of 2 numbers"),
        ("booth", {"start": [1.0, "a"]}, "list of 2 numbers"),
        ("quadratic", {"start": [1.0, 1.0], "curvatures": [1.0, 1.0, 1.0]}, "list of 3 numbers"),
        ("beale", {"start": [1.0, 1.0], "noise": -1.0}, "model.noise=-1"),
        ("beale", {"start": [1.0, 1.0], "slope": 1.0}, "slope"),
    ],
)
def test_senseless_settings_are_refused(name: str, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        models.build({"name": name, **settings}, None, None)
