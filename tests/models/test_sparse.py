"""Sparse features: the same model as on dense ones, in initial values, outputs and gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt import models
from distopt.errors import ConfigError
from distopt.tasks import Task
from tests.marks import slow

RNG = np.random.default_rng(0)
N, D = 9, 30
DENSE = np.where(RNG.random((N, D)) < 0.2, RNG.normal(size=(N, D)), 0).astype(np.float32)
DENSE[3] = 0
Y = jnp.arange(N, dtype=jnp.int32) % 3

MLP = {"name": "mlp", "hidden": [5], "norm": "layer"}


def sparse(dense: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Return (index, value), padded to the longest row."""
    longest = (dense != 0).sum(axis=1).max()
    index = np.full((len(dense), longest), dense.shape[1], np.int32)
    value = np.zeros((len(dense), longest), np.float32)
    for i, row in enumerate(dense):
        places = np.flatnonzero(row)
        index[i, : len(places)], value[i, : len(places)] = places, row[places]
    return jnp.array(index), jnp.array(value)


def both(settings: dict[str, Any], kind: Any = "classes") -> tuple[Task, Task]:
    classes = 3 if kind == "classes" else 1
    return models.build(settings, (D,), classes, kind), models.build(settings, (D,), classes, kind, sparse=True)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        pytest.param({"name": "logistic", "l2": 0.1}, "classes", id="logistic"),
        slow({"name": "linear"}, "numbers", id="linear"),
        slow(MLP, "classes", id="mlp"),
        pytest.param(MLP | {"norm": "batch", "activation": "maxout"}, "classes", id="batch norm"),
    ],
)
def test_sparse_features_are_the_dense_ones(settings: dict[str, Any], kind: Any) -> None:
    dense, padded = both(settings, kind)
    y = Y if kind == "classes" else Y.astype(jnp.float32)
    params, state = jax.jit(dense.init)(jax.random.key(3))
    again, state_again = jax.jit(padded.init)(jax.random.key(3))
    assert jax.tree.structure((params, state)) == jax.tree.structure((again, state_again))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, params, again)))
    (loss, _), gradient = jax.jit(jax.value_and_grad(dense.loss, has_aux=True))(
        params, state, (DENSE, y), jax.random.key(0)
    )
    (other, _), found = jax.jit(jax.value_and_grad(padded.loss, has_aux=True))(
        params, state, (sparse(DENSE), y), jax.random.key(0)
    )
    assert float(other) == pytest.approx(float(loss), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, gradient)
    if state and dense.refresh and padded.refresh:
        pairs = (dense.refresh, DENSE), (padded.refresh, sparse(DENSE))
        fresh = [jax.jit(refresh)(params, state, (x, y)) for refresh, x in pairs]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *fresh)


def test_padding_is_no_feature() -> None:
    """Longer padding changes nothing, and neither does a value at an index beyond the last feature."""
    _, task = both({"name": "logistic"})
    params, state = task.init(jax.random.key(0))
    index, value = sparse(DENSE)
    wide = jnp.pad(index, ((0, 0), (0, 7)), constant_values=D), jnp.pad(value, ((0, 0), (0, 7)), constant_values=5.0)
    outputs, _ = task.forward(params, state, ((index, value), Y), None)
    np.testing.assert_array_equal(task.forward(params, state, (wide, Y), None)[0], outputs)
    np.testing.assert_array_equal(outputs[3], params["Dense_0"]["bias"])


def test_dropped_inputs_are_features_that_are_there() -> None:
    _, task = both(MLP | {"dropout_input": 0.5})
    params, state = jax.jit(task.init)(jax.random.key(0))
    loss = jax.jit(lambda key: task.loss(params, state, (sparse(DENSE), Y), key)[0])
    assert len({float(loss(key)) for key in (*jax.random.split(jax.random.key(1)), None)}) == 3


def test_models_that_take_no_sparse_features_name_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"model=mlp_thesis takes no sparse features; .*, for model=mlp, logistic"):
        models.build({"name": "mlp_thesis"}, (784,), 10, sparse=True)
    with pytest.raises(ConfigError, match=r"takes samples with a number .*; the data set has samples with a class"):
        models.build({"name": "linear"}, (784,), 10, sparse=True)
