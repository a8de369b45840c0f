"""Models on data: sizes, what shapes they take, initial values, dropout, and that every model's YAML fits."""

import importlib
import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt import config, models
from distopt.errors import ConfigError
from distopt.tasks import Task

MLP = {"name": "mlp", "hidden": [5], "dropout": 0.0}
CNN = {"name": "cnn", "features": 2, "hidden": 3}


def size(model: Task) -> int:
    params, _ = jax.eval_shape(lambda: model.init(jax.random.key(0)))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def batch(shape: tuple[int, ...], classes: int, count: int = 4) -> tuple[jax.Array, jax.Array]:
    x = jax.random.normal(jax.random.key(1), (count, *shape))
    return x, jnp.arange(count, dtype=jnp.int32) % classes


@pytest.mark.parametrize("name", [*models.TRAINABLE, *models.ANALYTIC])
def test_yaml_has_the_settings_of_the_factory(name: str) -> None:
    module = "analytic" if name in models.ANALYTIC else name
    parameters = inspect.signature(getattr(importlib.import_module(f"distopt.models.{module}"), name)).parameters
    settings = config.compose([f"model={name}"])["model"]
    assert set(settings) == set(parameters) - {"shape", "classes", "kind", "sparse"} | {"name"}


def test_every_model_has_a_yaml() -> None:
    assert {*models.TRAINABLE, *models.ANALYTIC} == set(config.choices("model"))


@pytest.mark.parametrize(
    ("settings", "shape", "classes", "parameters"),
    [
        ({"name": "mlp_thesis"}, (28, 28), 10, 4_798_010),
        ({"name": "mlp_thesis"}, (784,), 10, 4_798_010),
        ({"name": "logistic"}, (8, 8), 10, 64 * 10 + 10),
        (MLP, (8, 8), 3, 64 * 5 + 5 + 5 * 3 + 3),
        (MLP | {"hidden": [7, 5]}, (4,), 2, (4 * 7 + 7) + (7 * 5 + 5) + (5 * 2 + 2)),
        (CNN, (28, 28), 10, (9 * 1 * 2 + 2) + (9 * 2 * 4 + 4) + (7 * 7 * 4 * 3 + 3) + (3 * 10 + 10)),
        (CNN, (32, 32, 3), 10, (9 * 3 * 2 + 2) + (9 * 2 * 4 + 4) + (8 * 8 * 4 * 3 + 3) + (3 * 10 + 10)),
    ],
)
def test_number_of_parameters(settings: dict[str, Any], shape: tuple[int, ...], classes: int, parameters: int) -> None:
    assert size(models.build(settings, shape, classes)) == parameters


@pytest.mark.parametrize(
    ("settings", "shape", "word"),
    [
        ({"name": "mlp_thesis"}, (8, 8), "28x28"),
        (CNN, (64,), "model=mlp"),
        (CNN, (4, 4), "at least 8x8"),
        (MLP, None, "dataset other than none"),
        ({"name": "booth", "start": [0, 0], "noise": 0.0}, (8, 8), "dataset=none"),
        ({"name": "vgg"}, (8, 8), "choose from .*resnet"),
        (MLP | {"hidden": [0]}, (8, 8), "model.hidden"),
        (MLP | {"dropout": 1.0}, (8, 8), "model.dropout=1"),
        (CNN | {"features": 0}, (8, 8), "model.features=0"),
        (MLP | {"depth": 3}, (8, 8), "depth"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], shape: tuple[int, ...] | None, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        models.build(settings, shape, 10)


@pytest.mark.parametrize("settings", [MLP, CNN, {"name": "logistic"}], ids=lambda settings: settings["name"])
def test_the_loss_is_the_cross_entropy_of_the_logits(settings: dict[str, Any]) -> None:
    model = models.build(settings, (8, 8), 5)
    params, state = model.init(jax.random.key(0))
    loss, (_, sums) = model.loss(params, state, batch((8, 8), 5), jax.random.key(1))
    assert np.isfinite(loss)
    assert float(sums["accuracy"][0]) in (0, 1, 2, 3, 4)
    assert float(sums["accuracy"][1]) == float(sums["loss"][1]) == 4
    # without weights all classes are equally likely, and the first one is called
    loss, (_, sums) = model.loss(jax.tree.map(jnp.zeros_like, params), state, batch((8, 8), 5), None)
    assert float(loss) == pytest.approx(math.log(5), rel=1e-6)
    assert float(model.finish(sums, jnp)["accuracy"]) == 0.25


@pytest.mark.parametrize("settings", [MLP, CNN], ids=lambda settings: settings["name"])
def test_initial_values_depend_on_the_key_alone(settings: dict[str, Any]) -> None:
    first, again, other = (models.build(settings, (8, 8), 5).init(jax.random.key(seed))[0] for seed in (0, 0, 1))
    same = jax.tree.map(lambda a, b: np.array_equal(a, b), first, again)
    different = jax.tree.map(lambda a, b: np.array_equal(a, b), first, other)
    assert all(jax.tree.leaves(same))
    assert not all(jax.tree.leaves(different))


def test_dropout_acts_in_training_only() -> None:
    model = models.build(MLP | {"hidden": [50], "dropout": 0.5}, (8, 8), 5)
    params, state = model.init(jax.random.key(0))
    data = batch((8, 8), 5)
    losses = [
        float(model.loss(params, state, data, key)[0]) for key in (*jax.random.split(jax.random.key(1)), None, None)
    ]
    assert losses[0] != losses[1]
    assert losses[2] == losses[3] not in losses[:2]
