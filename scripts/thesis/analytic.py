"""Results without training runs: schedules, the linear model of an elastic exchange, averaging on Beale's function."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from distopt import models
from distopt.cluster import Cluster, predict
from distopt.config import compose, validate
from distopt.launchers.workload import workload_from_config
from distopt.metrics.statistics import Interval
from scripts.thesis.verdicts import proportion

BEALE_DOMAIN = 3.0  # random starts are uniform on [-3, 3]²: single workers diverge from the corners of [-4.5, 4.5]²
BEALE_STEPS = 100_000  # of size 1e-4
BEALE_RUNS = 300
ROUNDS = 2000  # updates of a schedule per worker


@cache
def staleness(workers: int, law: str, seed: int) -> np.ndarray:
    """Return the share of commits with staleness 0, 1, 2, ... in the schedule of `experiment=thesis/staleness`."""
    settings = [f"workers={workers}", f"cluster.step.law={law}", f"seed={seed}"]
    config = validate(compose(["experiment=thesis/staleness", *settings]))
    found = predict(Cluster.from_settings(config["cluster"]), workload_from_config(config), updates=ROUNDS * workers)
    counts = np.array(found["staleness_histogram"], np.float64)
    return counts / counts.sum()


def distance_to_geometric(shares: np.ndarray, mean: float) -> float:
    """Return the Kolmogorov–Smirnov distance of shares of 0, 1, 2, ... to the geometric law with this mean."""
    stop = 1 / (mean + 1)
    cdf = 1 - (1 - stop) ** (np.arange(len(shares)) + 1)
    return float(np.abs(shares.cumsum() - cdf).max())


def exchange_radius(workers: int, sharing: int, alpha: float, gain: float) -> float:
    """Return the spectral radius of one sweep of AEASGD over all workers on a quadratic; AEASGD diverges above 1.

    Each worker takes one local step x ← (1 - a) x, a the gain, and exchanges E = α (x - c). Workers form groups of
    `sharing`, which pull the same c before any of them commits; 1 is the atomic exchange. The state is (c, x¹ ... xⁿ).
    """
    sweep = np.eye(workers + 1)
    for first in range(0, workers, sharing):
        group = np.arange(first, min(first + sharing, workers)) + 1
        step = np.eye(workers + 1)
        step[group, group] = (1 - alpha) * (1 - gain)
        step[group, 0] = alpha
        step[0, group] = alpha * (1 - gain)
        step[0, 0] = 1 - alpha * len(group)
        sweep = step @ sweep
    return float(np.abs(np.linalg.eigvals(sweep)).max())


@cache
def averaged_beale(workers: int, window: int, *, together: bool = False, seed: int = 0) -> Interval:
    """Return the share of `BEALE_RUNS` in which model averaging ends within 0.5 of the minimum of Beale's function.

    Each worker begins at its own random point. With `together` a single worker begins at the mean of `workers` random
    points: a control with the better start but without averaging. Learning rate 1e-4, gradient noise of standard
    deviation 10.
    """
    draw, noise = jax.random.split(jax.random.key(seed))
    starts = jax.random.uniform(draw, (BEALE_RUNS, workers, 2), minval=-BEALE_DOMAIN, maxval=BEALE_DOMAIN)
    if together:
        starts = starts.mean(axis=1, keepdims=True)
    ends = _average(starts, noise, window)
    minimum = jnp.array([3.0, 0.5])
    reached = jnp.linalg.norm(ends - minimum, axis=-1) < 0.5  # False for a diverged run
    return proportion(int(reached.sum()), BEALE_RUNS)


@partial(jax.jit, static_argnames="window")
def _average(starts: jax.Array, key: jax.Array, window: int) -> jax.Array:
    """Return the centers, shape (runs, 2), after rounds of `window` local steps and an average over workers."""
    loss = models.build({"name": "beale", "start": [0.0, 0.0], "noise": 0.0}, None, None).loss
    gradient = jax.vmap(jax.vmap(jax.grad(lambda x: loss({"x": x}, {}, None, None)[0])))

    def step(x: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        noise = 10.0 * jax.random.normal(jax.random.fold_in(key, i), x.shape)
        return x - 1e-4 * (gradient(x) + noise), None

    def round_(x: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        x, _ = jax.lax.scan(step, x, i * window + jnp.arange(window))
        return jnp.broadcast_to(x.mean(axis=1, keepdims=True), x.shape), None

    ends, _ = jax.lax.scan(round_, starts, jnp.arange(BEALE_STEPS // window))
    return ends[:, 0]
