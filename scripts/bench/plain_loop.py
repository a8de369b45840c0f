"""The limit for launchers: a jitted scan over the steps of a window, with the data on the device."""

import time

import jax
import jax.numpy as jnp
import optax

from distopt import config
from distopt.datasets.dataset import whole
from distopt.models import convolution
from distopt.training import experiment


def measure(overrides: list[str], data: str, windows: int, *, xla: bool = False) -> float:
    """Return gradient steps per second of one worker without any exchange, compilation excluded.

    Args:
        overrides: model, batch size, window and local optimizer of the run to compare with.
        data: an .npz file, for `dataset=npz`.
        windows: windows to time.
        xla: use XLA's convolutions in any case.
    """
    if xla:
        convolution.by_slices = by_xla
    named = any(override.startswith("dataset=") and override != "dataset=npz" for override in overrides)
    source = [] if named else ["dataset=npz", f"dataset.file={data}"]
    plain = config.validate(config.compose([*source, "stop.updates=1", "workers=1", *overrides]))
    run = experiment.build(plain)
    assert run.dataset is not None
    samples = jax.device_put(whole(run.dataset.train))
    params, state = run.model.init(jax.random.key(0))

    @jax.jit
    def window(params: optax.Params, local: optax.OptState, indices: jax.Array) -> tuple[optax.Params, optax.OptState]:
        def step(carry: tuple, index: jax.Array) -> tuple[tuple, None]:
            params, local = carry
            batch = jax.tree.map(lambda array: array[index], samples)
            g = jax.grad(lambda p: run.model.loss(p, state, batch, None)[0])(params)
            updates, local = run.local.update(g, local, params)
            return (optax.apply_updates(params, updates), local), None

        return jax.lax.scan(step, (params, local), indices)[0]

    local = run.local.init(params)
    shape = (windows + 1, run.window, run.batch_size)
    indices = jax.random.randint(jax.random.key(1), shape, 0, run.dataset.size, jnp.int32)
    carry = jax.block_until_ready(window(params, local, indices[0]))
    began = time.perf_counter()
    for i in range(windows):
        carry = window(*carry, indices[i + 1])
    jax.block_until_ready(carry)
    return windows * run.window / (time.perf_counter() - began)


def by_xla(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Return what `convolution.by_slices` returns, by XLA."""
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride, stride), "SAME", dimension_numbers=layout)
