"""Implicit momentum: the part of the center's last move that asynchrony alone repeats, without a momentum term.

    E[θ̃ₜ₊₁ − θ̃ₜ] = μ E[θ̃ₜ − θ̃ₜ₋₁] − η E[∇L(θ̃ₜ)]

With window 1 and n workers whose step times are exponential, each worker is equally likely to commit next. Then μ = 1 −
1/n, and η is the learning rate over n. With other step times the equation need not hold for any μ; the fitted values
then say how far the center behaves as if it did.

Source: I. Mitliagkas, C. Zhang, S. Hadjis, C. Ré, "Asynchrony begets momentum", 2016 (arXiv:1605.09774), theorem 3;
J. Hermans 2017, equations 1.1 and 2.1.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from distopt.metrics.statistics import CONFIDENCE, UNKNOWN, Interval

Array = npt.NDArray[np.float64]
LEAST = 3  # runs


class ImplicitMomentum(NamedTuple):
    """The fitted values, with 95 % intervals over runs."""

    momentum: Interval  # μ, dimensionless
    learning_rate: Interval  # η, in units of the center over those of the gradient


def implicit_momentum(centers: Array, gradients: Array) -> ImplicitMomentum:
    """Fit μ and η to the mean center of several runs that differ only in the seed.

    Least squares without a constant over all updates and coordinates. Regressing the means of R runs on each other
    would find too little momentum, because the mean of the regressors still has noise. So every moment is taken over
    pairs of *different* runs, whose noise is independent: Σ_{r≠s} xᵣᵀ xₛ in place of (Σ xᵣ)ᵀ (Σ xₛ). The intervals are
    of the jackknife, which leaves out one run at a time.

    Args:
        centers: θ̃ₜ after every update, shape (runs, updates + 1, d).
        gradients: the exact gradients ∇L(θ̃ₜ), of the same shape.

    Returns:
        μ and η; all NaN with fewer than three runs or updates, or if a center or gradient is not finite.
    """
    runs, updates = centers.shape[0], centers.shape[1] - 1
    if runs < LEAST or updates < LEAST or not (np.isfinite(centers).all() and np.isfinite(gradients).all()):
        return ImplicitMomentum(UNKNOWN, UNKNOWN)
    moves = np.diff(centers, axis=1)
    y = moves[:, 1:].reshape(runs, -1)
    x = np.stack([moves[:, :-1].reshape(runs, -1), -gradients[:, 1:-1].reshape(runs, -1)], axis=1)
    everything = np.concatenate([x, y[:, None]], axis=1)  # shape (runs, 3, updates - 1 times d)
    # Entry (r, s) is the 3 × 3 matrix of moments of run r with run s.
    moments = np.einsum("rit,sjt->rsij", everything, everything)
    moments[np.arange(runs), np.arange(runs)] = 0.0
    total = moments.sum(axis=(0, 1))
    without = total - moments.sum(axis=1) - moments.sum(axis=0)  # shape (runs, 3, 3)
    fitted, left = _solve(total[None])[0], _solve(without)
    error = np.sqrt((runs - 1) / runs * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    half = special.stdtrit(runs - 1, (1 + CONFIDENCE) / 2) * error
    momentum, rate = (
        Interval(float(v), float(v - h), float(v + h)) if np.isfinite(v) else UNKNOWN
        for v, h in zip(fitted, half, strict=True)
    )
    return ImplicitMomentum(momentum, rate)


def _solve(moments: Array) -> Array:
    """Return μ and η for each matrix of moments of shape (m, 3, 3), as shape (m, 2); NaN where they are not unique."""
    a, b = moments[:, :2, :2], moments[:, :2, 2:]
    a = (a + a.transpose(0, 2, 1)) / 2
    unique = np.abs(np.linalg.det(a)) > 1e-12 * np.abs(a[:, 0, 0] * a[:, 1, 1])
    solved = np.full((len(moments), 2), np.nan)
    solved[unique] = np.linalg.solve(a[unique], b[unique])[..., 0]
    return solved
