"""Delay-adaptive asynchronous SGD: only commits staler than n updates count less.

    θ̃ ← θ̃ + n / max(n, τ) · Δθᵏ,   θᵏ ← θ̃,      τ the staleness of the commit

With n busy workers the mean staleness is n − 1, so that equal workers with constant step times train as with Downpour.
If step times vary, some commits are staler than n although no worker is slow: with 16 equal workers a fifth of the
commits at a coefficient of variation of 0.1, a third if step times are exponential.

Source: K. Mishchenko et al., "Asynchronous SGD Beats Minibatch SGD Under Arbitrary Delays", 2022 (arXiv:2206.07638);
A. Koloskova, S. Stich, M. Jaggi, "Sharper Convergence Guarantees for Asynchronous SGD", 2022, theorem 8.
Differences: the papers scale the learning rate of a gradient (window 1); here the weight multiplies a window's local
updates. Koloskova et al. use min(η, 1 / (4 L τ)) beyond τ = n, which is the same for η = 1 / (4 L n).
"""

import jax.numpy as jnp

from distopt.optimizers.parts import DELTA, staleness_weighted
from distopt.rules import DistributedOptimizer


def delay_adaptive() -> DistributedOptimizer:
    """Build delay-adaptive asynchronous SGD."""
    server = staleness_weighted(lambda staleness, workers: workers / jnp.maximum(workers, staleness))
    return DistributedOptimizer(DELTA, server)
