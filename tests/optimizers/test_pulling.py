"""Methods that pull before they commit, or fetch rarely: GEM, AEASGD in two messages, ADAG's placements, Hogwild!."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from distopt.optimizers.adag import adag
from distopt.optimizers.aeasgd import aeasgd
from distopt.optimizers.gem import gem
from distopt.optimizers.hogwild import hogwild
from distopt.rules import Commits, DistributedOptimizer
from distopt.testing import train
from tests.optimizers.tools import Order, array, centers, equal, server, window
from tests.small import ADAM, BEALE, UNEVEN, experiment

ELASTIC = {"rho": 5.0, "elastic_learning_rate": 0.04}
OFFICIAL: dict[str, Any] = {"kappa": 1.0, "momentum": 0.5, "eps": 1e-12, "most": 5.0, "ahead": True}
PAPER = OFFICIAL | {"most": None, "ahead": False}
#: s of the bound for overlapping exchanges of 4 workers
LATE = np.sin(np.pi / (2 * (2 * 4 - 1)))
#: others commit between most pulls and the commits they belong to
RACING: Order = [(0, [0, 1]), 1, (1, [1, 2]), (0, [0]), 2, (2, [0, 2]), 0, (1, [1]), (0, [0, 2]), 2]


def test_gem_commits_what_is_missing_to_the_velocity_of_momentum() -> None:
    rule = gem(**OFFICIAL).worker
    start = array(0, 0, 0)
    first, state = rule.commit(window(start, array(2, -2, 4), center=start), rule.init(start))
    equal(first, 2, -2, 4)  # nobody else moved: |m| in the direction of D
    # Now m = m/2 + D = (2, 2, 3), and the center has moved by (1, 5, 2) since the last pull.
    here = array(1, 5, 2)
    second, state = rule.commit(window(start, array(1, 3, 1), center=here), state)
    equal(second, (2 - 1) / 1 * 1, 0, (3 - 2) / 1 * 1)  # the second coordinate was too fast: 2 < 5
    equal(rule.adopt((), window(start, here, center=here), state)[0], 1 + 1, 5, 2 + 1)


def test_gem_as_printed_brakes_where_the_others_were_too_fast() -> None:
    rule = gem(**PAPER).worker
    start, here = array(0, 0), array(3, 0)
    step, state = rule.commit(window(start, array(1, 0.01), center=here), rule.init(start))
    equal(step, 1 - 3, 0.01)
    assert rule.adopt((), window(start, here, center=here), state)[0] is here


def test_gem_clamps_what_its_authors_clamp() -> None:
    start, fast = array(0), array(8)
    for settings, expected in ((OFFICIAL, 5 * 0.1), (PAPER, 0.5 * 8 + 0.1)):
        rule = gem(**settings).worker
        _, state = rule.commit(window(start, fast, center=start), rule.init(start))
        step, _ = rule.commit(window(start, array(0.1), center=start), state)
        equal(step, expected)


def test_gem_and_the_others_together_are_as_fast_as_momentum() -> None:
    """|θ̃ − s + π D| = |m| where the center moved in the direction of D, and by less than |m|."""
    rng, d = np.random.default_rng(0), 50
    rule, start = gem(**PAPER).worker, jnp.zeros(d)
    delta = jnp.asarray(rng.uniform(1, 2, d) * rng.choice([-1, 1], d), jnp.float32)
    moved = jnp.asarray(rng.uniform(0, 1, d), jnp.float32) * delta
    step, state = rule.commit(window(start, delta, center=moved), rule.init(start))
    np.testing.assert_allclose(jnp.abs(moved + step), jnp.abs(state.momentum), rtol=1e-5)


def test_gem_that_is_to_match_nothing_stands_still() -> None:
    path = centers("gem", RACING, settings=OFFICIAL | {"kappa": 0.0})
    assert np.array_equal(path, np.broadcast_to(path[0], path.shape))


def test_an_elastic_exchange_in_two_messages_is_atomic_if_nothing_comes_between() -> None:
    atomic, two = (centers("aeasgd", window=3, settings=ELASTIC | {"atomic": atomic}) for atomic in (True, False))
    np.testing.assert_allclose(two, atomic, rtol=1e-6)
    racing = centers("aeasgd", RACING, window=3, settings=ELASTIC | {"atomic": False})
    assert not np.allclose(racing, centers("aeasgd", [0, 1, 1, 0, 2, 2, 0, 1, 0, 2], window=3, settings=ELASTIC))


class Racing:
    """Workers that commit elastic differences to centers they pulled before, in NumPy, without a gradient step."""

    def __init__(self, optimizer: DistributedOptimizer, workers: int, center: Any) -> None:
        self.worker, self.server, self.center = optimizer.worker, optimizer.server, center
        self.state = optimizer.server.init(center, workers)
        self.x = np.random.default_rng(1).normal(size=(workers, *np.shape(center)))
        self.pulled = [center] * workers

    def pull(self, worker: int) -> None:
        self.pulled[worker] = self.center

    def commit(self, worker: int) -> None:
        at = window(self.x[worker], self.x[worker], center=self.pulled[worker])
        message, _ = self.worker.commit(at, ())
        self.x[worker] = self.worker.adopt((), at, ())[0]
        who = jnp.array([worker])
        update = self.server.update(Commits(who, 0 * who, message[None], None), self.state, self.center)
        self.center, self.state = np.asarray(update.center), update.state


def test_racing_exchanges_conserve_the_sum_of_center_and_workers() -> None:
    rng, race = np.random.default_rng(0), Racing(aeasgd(**ELASTIC, atomic=False), 4, np.ones(3))
    total = race.center + race.x.sum(axis=0)
    for _ in range(30):
        for worker in rng.choice(4, size=rng.integers(1, 5), replace=False):
            race.pull(worker)
        race.commit(int(rng.integers(4)))
        np.testing.assert_allclose(race.center + race.x.sum(axis=0), total, rtol=1e-4)


@pytest.mark.parametrize(("sharing", "stable"), [(1, True), (2, False), (8, False)])
def test_full_elasticity_is_stable_until_two_workers_share_a_center(sharing: int, stable: bool) -> None:
    race = Racing(aeasgd(rho=1.0, elastic_learning_rate=1.0, atomic=False), 8, np.ones(1))
    before = np.abs(race.x).max()
    for _ in range(10):
        for first in range(0, 8, sharing):
            group = range(first, first + sharing)
            for worker in group:
                race.pull(worker)
            for worker in group:
                race.commit(worker)
    assert (np.abs(race.x).max() <= 2 * before) == stable


@pytest.mark.parametrize(("alpha", "stable"), [(2 * LATE / (1 + LATE), True), (2 * LATE, False)])
def test_overlapping_exchanges_are_stable_up_to_the_bound_that_is_warned_of(alpha: float, stable: bool) -> None:
    """Round robin of 4 workers that pull as soon as they have committed, so that all exchanges are always under way."""
    optimizer = aeasgd(rho=1.0, elastic_learning_rate=alpha, atomic=False)
    race = Racing(optimizer, 4, np.ones(1))
    before = np.abs(race.x).max()
    for step in range(160):
        race.commit(step % 4)
        race.pull(step % 4)
    assert (np.abs(race.x).max() <= 2 * before) == stable == (optimizer.warnings(4, 1) == [])


def test_adag_whose_commits_carry_what_was_pulled_is_the_one_that_remembers() -> None:
    for form in ("weight", "norm", "squared"):
        paths = [
            centers("adag", window=3, settings={"gamma": 1e-2, "form": form, "placement": placement})
            for placement in ("server", "message")
        ]
        assert np.array_equal(*paths)


def test_adag_at_the_worker_is_the_same_step_if_nothing_comes_between() -> None:
    settings = {"gamma": 1e-2}
    paths = [
        centers("adag", [0, 1, 2], window=3, settings=settings | {"placement": placement})
        for placement in ("server", "worker")
    ]
    np.testing.assert_allclose(*paths, rtol=1e-6)


def test_adag_at_the_worker_goes_on_from_the_center_it_scaled_by() -> None:
    rule = adag(gamma=5.0, placement="worker").worker
    at = window(array(0, 0), array(4, 2), steps=2, center=array(3, 4))
    message, state = rule.commit(at, ())
    equal(message, 2 / (9 / 5 + 1), 1 / (16 / 5 + 1))
    equal(rule.adopt((), at, state)[0], 3, 4)


def test_adag_with_a_huge_gamma_is_agn_wherever_it_scales() -> None:
    settings = {"gamma": 1e30, "placement": "message"}
    np.testing.assert_allclose(centers("adag", window=3, settings=settings), centers("agn", window=3), rtol=1e-6)


@pytest.mark.parametrize("torn", [0.0, 0.5, 1.0])
def test_hogwild_with_one_worker_is_sequential(torn: float) -> None:
    options: dict[str, Any] = {"order": [0] * 12, "workers": 1, "local": ADAM, "model": BEALE}
    np.testing.assert_allclose(
        centers("hogwild", settings={"torn": torn}, **options), centers("sequential", **options), rtol=1e-5
    )


def test_hogwild_without_races_is_downpour() -> None:
    assert np.array_equal(centers("hogwild", settings={"torn": 0.5}), centers("downpour"))
    assert not np.allclose(centers("hogwild", RACING, settings={"torn": 0.5})[-1], centers("downpour", UNEVEN[:10])[-1])


def test_hogwild_reads_the_first_coordinates_before_it_writes() -> None:
    tree = {"a": array(1, 2), "b": array(3, 4, 5)}
    moved = {name: leaf + 1 for name, leaf in tree.items()}
    later = {name: 10 * leaf for name, leaf in tree.items()}
    params, _ = hogwild(torn=0.6).worker.adopt(later, window(tree, moved, center=tree), ())
    equal(params["a"], 1 + 1, 2 + 1)
    equal(params["b"], 3 + 1, 40, 50)


def test_hogwild_with_disjoint_supports_is_sequential_in_any_order() -> None:
    """Each of two workers halves its own coordinate; what it does not touch may be as old as it likes."""
    optimizer, rng = hogwild(torn=0.5), np.random.default_rng(0)
    center, x, pulled, taken = array(8, 8), [array(8, 8)] * 2, [array(8, 8)] * 2, [0, 0]
    for _ in range(40):
        worker = int(rng.integers(2))
        if rng.random() < 0.5:
            pulled[worker] = center
            continue
        if taken[worker] == 5:
            continue
        taken[worker] += 1
        fetched = pulled[worker].at[worker].set(center[worker])
        at = window(x[worker], x[worker].at[worker].multiply(0.5), center=fetched)
        message, _ = optimizer.worker.commit(at, ())
        center = center + message
        x[worker] = optimizer.worker.adopt(center, at, ())[0]
    assert taken == [5, 5]
    equal(center, 8 / 2**5, 8 / 2**5)


@pytest.mark.parametrize("fetch", [1, 2, 5])
def test_downpour_with_one_worker_is_sequential_however_rarely_it_fetches(fetch: int) -> None:
    options: dict[str, Any] = {"order": [0] * 12, "workers": 1, "window": 2, "local": ADAM, "model": BEALE}
    alone = centers("sequential", **options)
    np.testing.assert_allclose(centers("downpour", settings={"fetch": fetch}, **options), alone, rtol=1e-5)


def test_downpour_that_never_fetches_adds_up_workers_that_train_alone() -> None:
    path = centers("downpour", [0, 1] * 6, workers=2, settings={"fetch": 100})
    alone = centers("sequential", [0] * 6, workers=1)
    np.testing.assert_allclose(path[::2] - path[0], 2 * (alone - alone[0]), rtol=1e-4)


def test_downpour_counts_staleness_from_its_fetches() -> None:
    trained = train(experiment("downpour", workers=2, settings={"fetch": 2}), [0, 0, 1, 0, 1, 1, 0])
    assert [row["staleness"] for row in trained.commits] == [0, 1, 2, 1, 4, 0, 4]
    size = 2 * 4
    assert [row["bytes_down"] for row in trained.commits] == [0, size, 0, 0, size, 0, size]


def test_a_server_answers_with_what_it_promises() -> None:
    for optimizer in (gem(**OFFICIAL), aeasgd(**ELASTIC, atomic=False), adag(gamma=1.0, placement="worker")):
        [update] = server(optimizer, array(1, 2), ([0], [0], [[3, 4]]))
        assert update.replies == ()
        equal(update.center, 4, 6)
