"""A line search whose trials are evaluated elsewhere: from the value and slope at a trial it computes the next trial.

For φ(α) = f(x + α d) it searches for a step α that satisfies the strong Wolfe conditions:

    φ(α) ≤ φ(0) + c₁ α φ'(0),      |φ'(α)| ≤ c₂ |φ'(0)|      with 0 < c₁ < c₂ < 1

It keeps an interval that contains such steps. The next trial is the zero of the line through the slopes at the lower
end and at the last trial (exact for quadratics), but at least a tenth of the interval away from its ends. While there
is no upper end, the next trial is at most ten times as far from the lower end as the last one was.

Source: J. Nocedal, S. J. Wright, "Numerical Optimization", 2006, section 3.5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Search(NamedTuple):
    """A search under way; all fields but `trials` are float32 of shape ()."""

    value: jax.Array  # φ(0)
    slope: jax.Array  # φ'(0)
    step: jax.Array  # α, the trial to be evaluated
    low: jax.Array  # the longest step known to be too short
    low_slope: jax.Array  # φ' there
    high: jax.Array  # the shortest step known to be too long; infinite while there is none
    trials: jax.Array  # trials so far, this one included; int32

    @classmethod
    def begin(cls, value: jax.Array, slope: jax.Array) -> "Search":
        """Start at a point with this value, in a direction with this slope < 0; the first trial is a step of 1."""
        zero, one = jnp.zeros_like(slope), jnp.ones_like(slope)
        return cls(value, slope, one, zero, slope, jnp.full_like(slope, jnp.inf), jnp.ones((), jnp.int32))

    @classmethod
    def anywhere(cls) -> "Search":
        """Return a search that accepts its starting point, whatever its value."""
        zero = jnp.zeros(())
        return cls.begin(jnp.full_like(zero, jnp.inf), zero)

    def _falls(self, value: jax.Array, c1: float) -> jax.Array:
        return value <= self.value + c1 * self.step * self.slope

    def ends(self, value: jax.Array, slope: jax.Array, c1: float, c2: float) -> jax.Array:
        """Return whether the trial with this value and slope satisfies both conditions."""
        return self._falls(value, c1) & (jnp.abs(slope) <= c2 * jnp.abs(self.slope))

    def next(self, value: jax.Array, slope: jax.Array, c1: float) -> "Search":
        """Return the search with the next trial, after a trial with this value and slope that does not end it."""
        far = ~self._falls(value, c1) | (slope > 0)
        width = self.step - self.low
        root = self.low - width * self.low_slope / (slope - self.low_slope)
        low, high = jnp.where(far, self.low, self.step), jnp.where(far, self.step, self.high)
        bounded = jnp.isfinite(high)
        ahead = jnp.where(bounded, high - low, width)
        least, most = low + 0.1 * ahead, low + jnp.where(bounded, 0.9, 10.0) * ahead
        convex = slope > self.low_slope
        step = jnp.clip(jnp.where(convex, root, (least + most) / 2), least, most)
        low_slope = jnp.where(far, self.low_slope, slope)
        return self._replace(step=step, low=low, low_slope=low_slope, high=high, trials=self.trials + 1)
