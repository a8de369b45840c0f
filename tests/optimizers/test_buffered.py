"""Methods that collect or discard commits: FedBuff, softsync, Rennala, Ringmaster; and FedAsync, delay-adaptive SGD."""

import math

import numpy as np
import optax
import pytest

from distopt.optimizers.averaging import averaging
from distopt.optimizers.delay_adaptive import delay_adaptive
from distopt.optimizers.downpour import downpour
from distopt.optimizers.fedasync import fedasync
from distopt.optimizers.fedbuff import fedbuff
from distopt.optimizers.rennala import rennala
from distopt.optimizers.ringmaster import ringmaster
from distopt.optimizers.softsync import softsync
from distopt.optimizers.synchronous import synchronous
from distopt.rules import DistributedOptimizer
from distopt.training.server import Server
from tests.optimizers.tools import array, centers, delivery, equal, follow, served, server
from tests.small import UNEVEN

RINGMASTER_1 = ringmaster(threshold=1, workers=3)
GRADIENTS = [30.0, 60.0, -10.0]  # of three workers
FEDASYNC = {"mixing": 0.5, "exponent": 1.0, "hinge": 1}


@pytest.mark.parametrize(
    "optimizer",
    [fedbuff(buffer=1, learning_rate=1, exponent=0), ringmaster(threshold=10**6, workers=3)],
    ids=["fedbuff", "ringmaster"],
)
def test_without_buffer_and_threshold_it_is_downpour(optimizer: DistributedOptimizer) -> None:
    assert np.array_equal(follow(optimizer, UNEVEN), follow(downpour(), UNEVEN))


def test_softsync_that_applies_each_commit_is_downpour_up_to_a_delay_of_1() -> None:
    order = [0, 1] * 6
    assert np.array_equal(follow(softsync(splitting=2, workers=2), order, 2), follow(downpour(), order, 2))


def test_delay_adaptive_is_downpour_until_a_commit_is_later_than_n() -> None:
    order = [0, 1, 1, 2, 1, 1, 0]
    ours, theirs = follow(delay_adaptive(), order), follow(downpour(), order)
    assert np.array_equal(ours[:-1], theirs[:-1])  # staleness 0, 1, 0, 3, 1, 0
    moved = theirs[-1] - theirs[-2]
    np.testing.assert_allclose(ours[-1] - ours[-2], 3 / 5 * moved, rtol=1e-4)  # staleness 5


def test_fedbuff_moves_by_the_weighted_mean_of_k_commits_and_counts_delays_in_moves() -> None:
    updates = [([0], [0], [[1]]), ([1], [1], [[2]]), ([1], [0], [[4]]), ([0], [2], [[6]])]
    optimizer = fedbuff(buffer=2, learning_rate=0.5, exponent=0.5)
    first, second, third, fourth = server(optimizer, array(10), *updates)
    equal(first.center, 10)
    equal(second.center, 10 + 0.5 * (1 + 2) / 2)
    equal(third.center, second.center[0])
    # Worker 0 had its last reply before the center moved: delay 1, worker 1 has seen the move.
    equal(fourth.center, second.center[0] + 0.5 * (4 + 6 / 2**0.5) / 2)
    assert [float(update.metrics["delay"][0]) for update in (first, second, third, fourth)] == [0, 0, 0, 1]


def test_softsync_divides_by_the_delay() -> None:
    updates = [([0], [0], [[2]]), ([1], [1], [[4]]), ([1], [0], [[2]]), ([1], [0], [[2]])]
    updates += [([1], [0], [[2]]), ([1], [0], [[2]]), ([0], [5], [[8]]), ([1], [1], [[0]])]
    results = server(softsync(splitting=1, workers=2), array(10), *updates)
    equal([results[1].center[0], results[5].center[0]], 10 + (2 + 4) / 2, 13 + 2 + 2)
    # Worker 0's last reply was before the first of three moves.
    equal(results[7].center, 17 + (8 / 3 + 0) / 2)


def test_rennala_takes_a_batch_at_one_center_whoever_computes_it() -> None:
    """Without noise every window at one center is the same, so that each move is a step of one worker alone."""
    path = centers("rennala", [0, 1, 1, 2, 0, 0, 1, 2, 1, 1, 2, 0], window=2, settings={"batch": 2})
    moves = path[np.r_[True, np.any(np.diff(path, axis=0) != 0, axis=1)]]
    assert 3 < len(moves) < len(path)
    alone = centers("sequential", [0] * 6, workers=1, window=2)
    np.testing.assert_allclose(moves, alone[: len(moves)], rtol=1e-4)


def test_rennala_drops_what_was_computed_at_an_earlier_center() -> None:
    optimizer = rennala(batch=None, workers=2)  # S = 2
    path, rows = served(optimizer, array(10), (0, 2), (0, 4), (1, 100), (1, 1), (0, 3))
    assert [row["accepted"] for row in rows] == [1, 1, 0, 1, 1]
    equal(path, 10, 13, 13, 13, 15)


def test_a_round_of_rennala_is_a_synchronous_update_but_the_next_one_has_begun() -> None:
    rounds = [(k, g) for _ in range(2) for k, g in enumerate(GRADIENTS)]
    deltas = [(k, -0.1 * g) for k, g in rounds]
    path, rows = served(rennala(batch=None, workers=3), array(10), *deltas, workers=3)
    together, _ = served(synchronous(local=optax.sgd(0.1)), array(10), *rounds, workers=3)
    np.testing.assert_allclose(path[2], together[2], rtol=1e-6)
    assert together[5] != together[2]
    # The first two went on before the last one moved the center: what they deliver next is late.
    assert [row["accepted"] for row in rows] == [1, 1, 1, 0, 0, 1]
    assert path[5] == path[2]


def test_a_round_of_fedbuff_is_an_average_but_the_next_one_has_begun() -> None:
    ends = [(k, 10 + g) for k, g in enumerate(GRADIENTS)]
    path, rows = served(
        fedbuff(buffer=3, learning_rate=1, exponent=1), array(10), *list(enumerate(GRADIENTS)) * 2, workers=3
    )
    averaged, _ = served(averaging(), array(10), *ends, workers=3)
    np.testing.assert_allclose(path[2], averaged[2], rtol=1e-6)
    assert [row["delay"] for row in rows] == [0, 0, 0, 1, 1, 0]
    np.testing.assert_allclose(path[5], path[2] + (30 / 2 + 60 / 2 - 10) / 3, rtol=1e-6)


def test_rennala_with_batch_1_is_ringmaster_with_threshold_1() -> None:
    commits = [(worker, float(i)) for i, worker in enumerate(UNEVEN)]
    one, other = (
        served(rule, array(10), *commits, workers=3)[0] for rule in (rennala(batch=1, workers=3), RINGMASTER_1)
    )
    assert one == other


def test_ringmaster_counts_delays_in_commits_applied() -> None:
    optimizer = ringmaster(threshold=None, workers=2)  # R = 2
    path, rows = served(optimizer, array(10), (0, 1), (0, 2), (1, 100), (0, 4), (1, 8))
    # Worker 1 is two updates late at first; its dropped commit makes nobody later.
    assert [row["staleness"] for row in rows] == [0, 0, 2, 0, 1]
    equal(path, 11, 13, 13, 17, 25)


@pytest.mark.parametrize(("commits", "center"), [(3, 10 + 1.5), (4, 10 + 2), (5, 10 + 2.5)])
def test_what_waits_in_a_buffer_is_applied_when_training_is_over(commits: int, center: float) -> None:
    """K = 4 commits of 1 with the weight 1/2 each, in full buffers or not."""
    rule = fedbuff(buffer=4, learning_rate=2, exponent=0)
    it = Server(rule, array(10), 1)
    for sequence in range(1, commits + 1):
        it.deliver(delivery(0, sequence, 1, last=sequence == commits))
    for _ in range(2):
        it.finish()
        equal(it.center, center)
        assert it.version == commits + (commits != 4)


@pytest.mark.parametrize(
    ("weighting", "weights"),
    [("constant", [1, 1, 1]), ("polynomial", [1, 1 / 2, 1 / 4]), ("hinge", [1, 1, 1 / 3])],
)
def test_fedasync_mixes_by_staleness(weighting: str, weights: list[float]) -> None:
    center, updates = 10.0, [([0], [0], [[2]]), ([1], [1], [[4]]), ([0], [3], [[8]])]
    results = server(fedasync(weighting=weighting, **FEDASYNC), array(center), *updates)
    for update, weight, (_, _, [[theta]]) in zip(results, weights, updates, strict=True):
        center = (1 - 0.5 * weight) * center + 0.5 * weight * theta
        equal(update.center, center)


def test_fedasync_that_forgets_everything_keeps_the_last_writer() -> None:
    optimizer = fedasync(weighting="constant", **FEDASYNC | {"mixing": 1})
    (update,) = server(optimizer, array(10, 20), ([0], [5], [[3, 4]]))
    assert update.center.tolist() == [3, 4]


def test_the_proximal_term_draws_back_to_the_start_of_the_window() -> None:
    rule = fedasync(weighting="constant", proximal=0.5, **FEDASYNC).worker
    assert rule.steps.correct is not None
    equal(rule.steps.correct(array(3), array(10), array(4)), 3 + 0.5 * 6)
    assert fedasync(weighting="constant", proximal=0, **FEDASYNC).worker.steps.correct is None


def test_a_strong_proximal_term_keeps_workers_near_the_center() -> None:
    """On ½ h x² with step size η the window's gain is G = h (1 − (1 − η (h + ρ))^λ) / (h + ρ)."""
    quadratic = {"name": "quadratic", "start": [1.0, -1.0], "curvatures": [1.0, 2.0], "noise": 0.0}
    settings = {"mixing": 1.0, "weighting": "constant", "exponent": 1.0, "hinge": 1, "proximal": 3.0}
    moved = centers("fedasync", [0], workers=1, window=5, model=quadratic, settings=settings)
    h, rho, eta = np.array([1.0, 2.0]), 3.0, 0.01
    gain = h * (1 - (1 - eta * (h + rho)) ** 5) / (h + rho)
    np.testing.assert_allclose(moved[1], (1 - gain) * moved[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "accepted"),
    [(fedbuff(buffer=2, learning_rate=1, exponent=1), [1, 1, 1, 1, 1]), (rennala(batch=2, workers=3), [1, 1, 0, 1, 1])],
    ids=["fedbuff", "rennala"],
)
def test_a_refused_commit_has_its_place_in_the_buffer_and_adds_nothing(
    optimizer: DistributedOptimizer, accepted: list[int]
) -> None:
    commits = [(0, math.nan), (0, 2.0), (1, 4.0), (0, 6.0), (1, 8.0)]
    path, rows = served(optimizer, array(10), *commits, workers=3, guarded=True)
    assert [row["accepted"] for row in rows] == accepted
    assert [row["refused"] for row in rows] == [1, 0, 0, 0, 0]
    late = 4.0 / (1 + 1)  # the commit of worker 1, who has not seen the move: weighted by fedbuff, dropped by rennala
    moves = [10, 11, 11, 11 + (late + 6) / 2] if accepted[2] else [10, 11, 11, 11, 11 + (6 + 8) / 2]
    np.testing.assert_allclose(path[: len(moves)], moves, rtol=1e-6)
