"""The limit for launchers: a jitted scan over the steps of a window, with the data on the device."""

import time

import jax
import jax.numpy as jnp
import optax

from distopt import config
from distopt.training import experiment


def measure(overrides: list[str], data: str, windows: int) -> float:
    """Return gradient steps per second of one worker without any exchange, compilation excluded.

    Args:
        overrides: model, batch size, window and local optimizer of the run to compare with.
        data: an .npz file.
        windows: windows to time.
    """
    plain = config.validate(
        config.compose(["dataset=npz", f"dataset.file={data}", "stop.updates=1", "workers=1", *overrides])
    )
    run = experiment.build(plain)
    assert run.dataset is not None
    x, y = jax.device_put((run.dataset.train_x, run.dataset.train_y))
    params, state = run.model.init(jax.random.key(0))

    @jax.jit
    def window(params: optax.Params, local: optax.OptState, indices: jax.Array) -> tuple[optax.Params, optax.OptState]:
        def step(carry: tuple, index: jax.Array) -> tuple[tuple, None]:
            params, local = carry
            g = jax.grad(lambda p: run.model.loss(p, state, (x[index], y[index]), None)[0])(params)
            updates, local = run.local.update(g, local, params)
            return (optax.apply_updates(params, updates), local), None

        return jax.lax.scan(step, (params, local), indices)[0]

    local = run.local.init(params)
    shape = (windows + 1, run.window, run.batch_size)
    indices = jax.random.randint(jax.random.key(1), shape, 0, len(y), jnp.int32)
    carry = jax.block_until_ready(window(params, local, indices[0]))
    began = time.perf_counter()
    for i in range(windows):
        carry = window(*carry, indices[i + 1])
    jax.block_until_ready(carry)
    return windows * run.window / (time.perf_counter() - began)
