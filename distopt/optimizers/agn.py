"""AGN, accumulated gradient normalization: a commit is the mean, not the sum, of the window's local updates.

    commit=delta:      θ̃ ← θ̃ + Δθᵏ / λ,                     θᵏ ← θ̃
    commit=gradient:   θ̃ ← θ̃ + U(θ̃, (1/λ) Σ g),             θᵏ ← θ̃

The worker finds a direction in λ steps and moves the center by the length of one step. In round robin AGN is stable for
every a = ηh ≤ 1 if λ ≥ 1 / (2 sin(π / (2 (2n − 1)))), about (2n − 1) / π.

Source: J. Hermans, G. Spanakis, R. Möckel, "Accumulated Gradient Normalization", 2017 (arXiv:1710.02368); Hermans 2017,
equation 3.1, algorithm 10. The bound is derived on a quadratic; it is sufficient, not necessary.
Differences: the class that dist-keras calls `ADAG` is `commit=delta`; TensorFlow's contrib `AGNOptimizer` is
`commit=gradient`, where the local optimizer runs a second time, at the server. The two agree for plain SGD only.
Equation 3.1 sums one term too many: λ terms are meant. The last window of a shard is divided by the number of steps it
took.
"""

import math

import optax

from distopt.optimizers.parts import MEAN_DELTA, additive, adopt_center, commit_gradient, commit_mean_delta
from distopt.rules import DistributedOptimizer, Steps, WorkerRule
from distopt.settings import require_choice


def agn(*, local: optax.GradientTransformation | None = None, commit: str = "delta") -> DistributedOptimizer:
    """Build AGN.

    Args:
        local: the configured local optimizer; with `commit=gradient` the server applies it to the mean gradient.
        commit: what a worker sends, `delta` (its mean local update) or `gradient` (its mean gradient).
    """
    send = require_choice("commit", commit, {"delta": commit_mean_delta, "gradient": commit_gradient})
    if send is commit_mean_delta:
        return DistributedOptimizer(MEAN_DELTA, additive(), warnings=warnings)
    if local is None:
        raise ValueError(f"commit={commit} needs a local optimizer, which turns gradients into steps at the server")
    worker = WorkerRule(send, adopt_center, sends="gradient", steps=Steps("both"))
    return DistributedOptimizer(worker, additive(local), warnings=warnings)


def warnings(workers: int, window: int) -> list[str]:
    """Return a warning if the window is too short to be stable for every a = ηh ≤ 1; shared with ADAG."""
    least = 1 / (2 * math.sin(math.pi / (2 * (2 * workers - 1))))
    if window >= least:
        return []
    return [
        f"optimizer.window={window} is below {least:.1f} = 1 / (2 sin(pi / (2 (2n - 1)))), from which on mean local "
        f"updates of n={workers} workers in round robin are stable for learning rates up to 1/h (quadratic of "
        "curvature h, plain SGD)"
    ]
