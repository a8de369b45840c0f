"""Metrics of methods that scale every weight of a commit separately."""

import jax
import jax.numpy as jnp


def scale_metrics(scale: jax.Array) -> dict[str, jax.Array]:
    """Return mean, 5 % quantile and minimum of the sampled scales of each commit, shape (q,); scales are in [0, 1]."""
    return {
        "scale_mean": jnp.mean(scale, axis=1),
        "scale_q05": _quantile(scale, 0.05),
        "scale_min": jnp.min(scale, axis=1),
    }


def _quantile(scale: jax.Array, share: float) -> jax.Array:
    """Return a quantile of values in [0, 1] to within 1e-6, by bisection: sorting takes ten times as long."""

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) / 2
        below = jnp.mean(scale <= middle[:, None], axis=1) < share
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    bounds = jnp.zeros(scale.shape[0]), jnp.ones(scale.shape[0])
    return jax.lax.fori_loop(0, 20, halve, bounds)[1]
