"""Rules on numbers small enough to check by hand, and whole runs on small problems."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from distopt.rules import Commits, DistributedOptimizer, Update, Window
from distopt.testing import train
from distopt.training.messages import Delivery
from distopt.training.server import Server
from tests.small import UNEVEN, experiment, path

WORKERS = 2
Order = Sequence[int | tuple[int, Sequence[int]]]  # see `distopt.testing.train`


def array(*values: Any) -> jnp.ndarray:
    return jnp.array(values, jnp.float32)


def equal(actual: Any, *expected: float) -> None:
    np.testing.assert_allclose(actual, array(*expected), rtol=1e-6)


def window(start: Any, end: Any, steps: int = 1, **others: Any) -> Window:
    return Window(start, end, jnp.int32(steps), **others)


def server(
    optimizer: DistributedOptimizer,
    center: Any,
    *updates: tuple[Sequence[int], Sequence[int], Sequence[Sequence[float]]],
    workers: int = WORKERS,
) -> list[Update]:
    """Apply updates, each given by workers, staleness and messages, one after the other; committers pull at once."""
    state, results, pulled = optimizer.server.init(center, workers), [], [center] * workers
    for who, staleness, messages in updates:
        seen = jnp.stack([pulled[worker] for worker in who])
        commits = Commits(jnp.array(who), jnp.array(staleness), array(*messages), seen)
        results.append(optimizer.server.update(commits, state, center))
        center, state = results[-1].center, results[-1].state
        for worker in who:
            pulled[worker] = center
    return results


def delivery(worker: int, sequence: int, message: float, last: bool = False) -> Delivery:
    """A commit of one number."""
    return Delivery(worker, sequence, array(message), 5, 160, {"loss": 1.0}, 0.1, 0.0, 4, last)


def served(
    optimizer: DistributedOptimizer,
    center: Any,
    *commits: tuple[int, float],
    workers: int = WORKERS,
    guarded: bool = False,
) -> tuple[list[float], list[dict[str, Any]]]:
    """Deliver commits, given by worker and message, to a server: the center after each, and their rows in order."""
    it, path, rows, sequence = Server(optimizer, center, workers, guarded=guarded), [], [], [0] * workers
    for worker, message in commits:
        sequence[worker] += 1
        applied = it.deliver(delivery(worker, sequence[worker], message))
        rows += it.rows(applied) if applied else []
        path.append(float(it.center[0]))
    return path, rows


def centers(optimizer: str, order: Order = UNEVEN, workers: int = 3, **options: Any) -> np.ndarray:
    """The center of a run on an analytic function before and after each update, shape (updates + 1, 2)."""
    return path(train(experiment(optimizer, workers=workers, **options), order))


def follow(optimizer: DistributedOptimizer, order: list[int], workers: int = 3) -> np.ndarray:
    """Apply random messages of the workers in `order`, the same for every rule; the center after each update."""
    rng, q = np.random.default_rng(0), min(optimizer.synchrony.quorum, workers)
    seen, updates = dict.fromkeys(range(workers), 0), []
    for i in range(0, len(order), q):
        who = sorted(order[i : i + q])
        updates.append((who, [len(updates) - seen[worker] for worker in who], rng.normal(size=(q, 4)).tolist()))
        seen |= dict.fromkeys(who, len(updates))
    return np.array([update.center for update in server(optimizer, array(1, -1, 2, 0.5), *updates, workers=workers)])
