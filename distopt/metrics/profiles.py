"""Performance profiles: how often, and by how much, an optimizer falls behind the best one over many workloads.

Sources: E. Dolan and J. Moré, Benchmarking Optimization Software with Performance Profiles, 2002; the score is that of
G. Dahl et al., Benchmarking Neural Network Training Algorithms (AlgoPerf), 2023.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
MAX_RATIO = 4.0


def performance_ratios(costs: Array) -> Array:
    """Return r = t / min over optimizers of t, for costs t > 0 of shape (workloads, optimizers).

    A cost is infinite where the target was not reached; its ratio is infinite too. A cost of 0 (reached before the
    first update) is as good as the best.
    """
    best = costs.min(axis=1, keepdims=True, initial=np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = costs / best
    ratios = np.where(costs == best, 1.0, ratios)
    return np.where(np.isfinite(costs), ratios, np.inf)


def profile(ratios: Array, within: Array) -> Array:
    """Return for each q of `within` the share of workloads with r <= q; shape (len(within), optimizers)."""
    return np.asarray((ratios[None] <= within[:, None, None]).mean(axis=1))


def score(ratios: Array, max_ratio: float = MAX_RATIO) -> Array:
    """Return B = 1 / (r_max - 1) ∫₁^{r_max} profile(q) dq of each optimizer, in [0, 1].

    In closed form it is the mean over workloads of max(0, r_max - r) / (r_max - 1): 1 for an optimizer that is always
    the fastest, 0 for one that is never within `max_ratio` of the best.
    """
    return np.asarray((np.maximum(0.0, max_ratio - ratios) / (max_ratio - 1)).mean(axis=0))
