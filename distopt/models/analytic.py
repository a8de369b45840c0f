"""Analytic functions for study and tests, on which the trajectory of an optimizer can be computed by hand.

The parameters are `{"x": array of shape (d,)}`. With `noise` σ > 0 every gradient gets an independent term z ~ N(0, σ²
I), drawn from the step's key: the loss gains ⟨z, x⟩, whose gradient is z.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from distopt.records import LOSS
from distopt.rules import Params
from distopt.tasks import Batch, Key, ModelState, Sums, Task


def _analytic(
    function: Callable[[jax.Array], jax.Array], start: Sequence[float], noise: float, minimum: tuple[float, ...]
) -> Task:
    """Wrap f: R^d → R, started at `start`, with gradient noise of standard deviation `noise`."""
    if len(start) != len(minimum) or not all(isinstance(value, int | float) for value in start):
        raise ValueError(f"model.start={list(start)} must be a list of {len(minimum)} numbers")
    if not isinstance(noise, int | float) or noise < 0:
        raise ValueError(f"model.noise={noise} must be a number >= 0")

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        del key
        return {"x": jnp.array(start, jnp.float32)}, {}

    def forward(params: Params, state: ModelState, batch: Batch, key: Key) -> tuple[jax.Array, ModelState]:
        del batch
        x = params["x"]
        value = function(x)
        if key is not None and noise > 0:
            value += noise * jnp.dot(jax.lax.stop_gradient(jax.random.normal(key, x.shape)), x)
        return value, state

    def measure(value: jax.Array, batch: Batch) -> Sums:
        del batch
        return {"loss": (value, jnp.float32(1))}

    return Task(init, forward, measure, (LOSS,), minimum=minimum)


def beale(*, start: Sequence[float], noise: float = 0.0) -> Task:
    """Beale's function: Σᵢ (cᵢ − x (1 − yⁱ))² with c = (1.5, 2.25, 2.625); minimum 0 at (3, 0.5)."""

    def function(p: jax.Array) -> jax.Array:
        x, y = p
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2

    return _analytic(function, start, noise, (3.0, 0.5))


def booth(*, start: Sequence[float], noise: float = 0.0) -> Task:
    """Booth's function: (x + 2y − 7)² + (2x + y − 5)²; minimum 0 at (1, 3)."""

    def function(p: jax.Array) -> jax.Array:
        x, y = p
        return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2

    return _analytic(function, start, noise, (1.0, 3.0))


def rosenbrock(*, start: Sequence[float], noise: float = 0.0) -> Task:
    """Rosenbrock's function: (1 − x)² + 100 (y − x²)²; minimum 0 at (1, 1)."""

    def function(p: jax.Array) -> jax.Array:
        x, y = p
        return (1 - x) ** 2 + 100 * (y - x**2) ** 2

    return _analytic(function, start, noise, (1.0, 1.0))


def quadratic(*, start: Sequence[float], curvatures: Sequence[float], noise: float = 0.0) -> Task:
    """A quadratic: ½ Σᵢ hᵢ xᵢ² with the given curvatures h; minimum 0 at the origin."""

    def function(x: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(jnp.array(curvatures, jnp.float32) * x**2)

    return _analytic(function, start, noise, (0.0,) * len(curvatures))
