"""Predicts time, staleness, utilisation and traffic of a run on a cluster, without training anything.

Quantities of a prediction:

time_s: virtual time of the last update. updates, commits, steps, samples: numbers. dropped: how many of the commits are
not applied; staleness does not count them. failures: returns after a failure.
staleness_mean, _std, _q95, _max, and staleness_histogram, whose entry τ counts the commits with staleness τ.
server_busy: the server's share of the time after `start_s` spent on commits. worker_busy, worker_wait: the
workers' shares spent on windows that were committed, and between such windows; the rest are windows still under
way at the end and workers that have finished. bytes_up, bytes_down: totals; every commit and every pull is answered,
unless workers fetch more rarely than they commit.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from distopt.cluster.draws import Workload
from distopt.cluster.schedule import schedule
from distopt.cluster.settings import Cluster


def predict(
    cluster: Cluster, load: Workload, updates: int | None = None, seconds: float | None = None
) -> dict[str, Any]:
    """Return the time, updates, staleness, utilisation and traffic of a run; see the head of this module.

    The run ends with its budget, with update number `updates`, or with the first update at or after `seconds`.
    """
    sent = [0] * load.workers
    staleness: list[int] = []
    version = steps = failures = dropped = pulls = 0
    late = set(range(1, load.workers)) if load.synchrony.start_after else set[int]()
    time_s, computing, waiting, serving = cluster.start_s, 0.0, 0.0, 0.0
    for update in schedule(cluster, load):
        staleness += [commit.staleness for commit in update.commits]
        for commit in (*update.dropped, *update.commits):
            sent[commit.worker] += 1
            steps += commit.steps
            computing += commit.compute_s
            waiting += commit.exchange_s
            serving += commit.server_s
        version += bool(update.commits)
        dropped += len(update.dropped)
        pulls += len(update.returned)
        failures += len(set(update.returned) - late)
        late.difference_update(update.returned)
        time_s = update.time_s
        if version == updates or (seconds is not None and time_s >= seconds):
            break
    span = max(time_s - cluster.start_s, np.finfo(float).tiny)
    return {
        "time_s": time_s,
        "updates": version,
        "commits": len(staleness) + dropped,
        "dropped": dropped,
        "steps": steps,
        "samples": steps * load.batch_size,
        "failures": failures,
        **_staleness(np.asarray(staleness, np.int64)),
        "server_busy": serving / span,
        "worker_busy": computing / (span * load.workers),
        "worker_wait": waiting / (span * load.workers),
        "bytes_up": (len(staleness) + dropped) * load.bytes_up,
        "bytes_down": _bytes_down(load, sent, pulls),
    }


def _bytes_down(load: Workload, sent: list[int], pulls: int) -> int:
    """Return what the server sends for `sent` commits of each worker: replies, centers before commits, and `pulls`."""
    replies = sum(commits // load.synchrony.fetch for commits in sent)
    if load.bytes_center is None:
        return (replies + pulls) * load.bytes_down
    return replies * load.bytes_down + (sum(sent) + pulls) * load.bytes_center


def _staleness(values: NDArray[np.int64]) -> dict[str, Any]:
    """Moments, 95 % quantile (nearest rank) and histogram; moments are 0 if there are no values."""
    histogram = np.bincount(values).tolist()
    if not values.size:
        values = np.zeros(1, np.int64)
    return {
        "staleness_mean": float(values.mean()),
        "staleness_std": float(values.std()),
        "staleness_q95": int(np.quantile(values, 0.95, method="inverted_cdf")),
        "staleness_max": int(values.max()),
        "staleness_histogram": histogram,
    }
