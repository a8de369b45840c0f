"""Staleness and queues against what is known in closed form."""

from itertools import islice

import numpy as np
import pytest

from distopt.cluster import Cluster, Law, Workload, predict, schedule
from distopt.rules import BARRIER

ENDLESS = 2**31 - 1


def staleness(cluster, workers, commits, seed=0):
    """Return the staleness of each commit and the ages of the windows then in flight."""
    load = Workload(workers, 1, np.full(workers, ENDLESS), seed=seed)
    pulled, values = np.zeros(workers, int), []
    for version, update in enumerate(islice(schedule(cluster, load), commits)):
        (commit,) = update.commits
        values.append(version - pulled[commit.worker])
        pulled[commit.worker] = version + 1
    return np.array(values), commits - pulled


@pytest.mark.parametrize("spread", [0.0, 1.5])
@pytest.mark.parametrize("law", ["deterministic", "gamma", "exponential", "lognormal", "pareto"])
def test_mean_staleness_is_n_minus_1_whatever_the_law(law, spread):
    cluster = Cluster(Law(1.0, law, 0.5), spread=spread)
    values, ages = staleness(cluster, 12, 4000)
    assert values.sum() + ages.sum() == 4000 * 11
    load = Workload(12, 1, np.full(12, ENDLESS))
    assert predict(cluster, load, updates=4000)["staleness_mean"] == pytest.approx(values.mean())
    assert values.mean() == pytest.approx(11, abs=0.5 if spread else 0.1)


def test_deterministic_steps_make_all_commits_equally_stale():
    values, _ = staleness(Cluster(Law(1.0)), 20, 2000)
    assert set(values[20:]) == {19}


def test_exponential_steps_make_staleness_geometric():
    n, commits = 10, 40_000
    values, _ = staleness(Cluster(Law(1.0, "exponential")), n, commits)
    seen = np.bincount(values, minlength=100)[:100].cumsum() / commits
    assert np.abs(seen - (1 - (1 - 1 / n) ** np.arange(1, 101))).max() < 0.015
    assert values.std() == pytest.approx(np.sqrt(n * (n - 1)), rel=0.05)


def test_a_barrier_has_no_staleness():
    found = predict(Cluster(Law(1.0, "exponential")), Workload(8, 2, np.full(8, 40), BARRIER))
    assert found["staleness_max"] == 0
    assert found["updates"] == 20


def mean_value_analysis(customers, think_s, service_s):
    """Return the throughput of a closed queue with exponential service: arrivals see one customer less."""
    length = 0.0
    for k in range(1, customers + 1):
        response = service_s * (1 + length)
        throughput = k / (think_s + response)
        length = throughput * response
    return throughput


@pytest.mark.parametrize("law", [Law(1.0, "exponential"), Law(1.0, "gamma", 0.3)])
@pytest.mark.parametrize(("workers", "service"), [(3, 0.1), (8, 0.12), (20, 0.2)])
def test_throughput_and_utilisation_are_those_of_a_closed_queue(law, workers, service):
    """Exact for any law of the steps: only the mean of a delay station matters."""
    cluster = Cluster(law, server=Law(service, "exponential"))
    found = predict(cluster, Workload(workers, 1, np.full(workers, ENDLESS)), updates=30_000)
    expected = mean_value_analysis(workers, 1.0, service)
    assert found["commits"] / found["time_s"] == pytest.approx(expected, rel=0.02)
    assert found["server_busy"] == pytest.approx(expected * service, rel=0.02)
    assert found["worker_busy"] == pytest.approx(expected / workers, rel=0.02)
    assert found["worker_busy"] + found["worker_wait"] == pytest.approx(1, rel=0.01)


def test_a_saturated_server_sets_the_pace():
    found = predict(Cluster(Law(1.0), server=Law(0.5)), Workload(10, 1, np.full(10, 100)))
    assert found["time_s"] == pytest.approx(1.0 + 1000 * 0.5)


def test_a_barrier_of_exponential_workers_waits_for_their_maximum():
    """E max of n exponentials is the n-th harmonic number."""
    found = predict(Cluster(Law(1.0, "exponential")), Workload(10, 1, np.full(10, 4000), BARRIER))
    assert found["time_s"] / 4000 == pytest.approx(sum(1 / k for k in range(1, 11)), rel=0.02)
