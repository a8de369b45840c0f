"""Convolutions as slices and a matrix product are those of XLA, and of Flax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt.models.convolution import Conv

CASES = [((8, 8, 1), 4, (3, 3), 1), ((9, 7, 3), 5, (3, 3), 2), ((28, 28, 1), 2, (3, 3), 2), ((5, 6, 2), 3, (1, 1), 2)]
CASES += [((8, 8, 2), 3, (5, 3), 1), ((4, 4, 1), 1, (3, 3), 3)]


@pytest.mark.parametrize(("shape", "features", "kernel", "stride"), CASES)
def test_values_and_gradients_are_those_of_xla(
    shape: tuple[int, ...], features: int, kernel: tuple[int, int], stride: int
) -> None:
    x = jax.random.normal(jax.random.key(0), (2, *shape))
    weights = jax.random.normal(jax.random.key(1), (2, *(-(-n // stride) for n in shape[:2]), features))
    sliced, xla = (Conv(features, kernel, stride, sliced=how) for how in (True, False))
    flax = nn.Conv(features, kernel, strides=stride)
    params = sliced.init(jax.random.key(2), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, flax.init(jax.random.key(2), x))
    found = [
        jax.value_and_grad(lambda p, x, module=module: jnp.sum(weights * module.apply(p, x)), argnums=(0, 1))(params, x)
        for module in (sliced, xla, flax)
    ]
    for other in found[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found[0], other)


def test_initial_values_are_those_of_flax() -> None:
    x = jnp.zeros((1, 8, 8, 3))
    ours, theirs = (module.init(jax.random.key(0), x)["params"] for module in (Conv(4), nn.Conv(4, (3, 3))))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
