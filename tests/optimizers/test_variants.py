"""Settings that change an optimizer's equation, and warnings where a known bound is exceeded."""

import re
from importlib import resources
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import yaml

from distopt.optimizers import build
from distopt.optimizers.adag import adag
from distopt.optimizers.aeasgd import aeasgd
from distopt.optimizers.agn import agn
from distopt.optimizers.delay_adaptive import delay_adaptive
from distopt.optimizers.downpour import downpour
from distopt.optimizers.dynsgd import dynsgd
from distopt.optimizers.eamsgd import eamsgd
from distopt.optimizers.easgd import easgd
from distopt.optimizers.fedbuff import fedbuff
from distopt.optimizers.softsync import softsync
from distopt.rules import Commits, DistributedOptimizer
from tests.optimizers.tools import array, centers, equal, follow, server, window
from tests.small import SGD, UNEVEN, experiment


@pytest.mark.parametrize(
    ("weighting", "weights"),
    [("delay_plus_one", [1, 1 / 2, 1 / 4]), ("delay", [1, 1, 1 / 3]), ("constant", [1 / 2] * 3)],
)
def test_dynsgd_weighs_by_staleness(weighting: str, weights: list[float]) -> None:
    results = server(dynsgd(weighting=weighting), array(0), *[([0], [tau], [[1]]) for tau in (0, 1, 3)])
    np.testing.assert_allclose(np.diff([0, *[update.center[0] for update in results]]), weights, rtol=1e-6)


@pytest.mark.parametrize("form", ["norm", "squared"])
def test_every_form_of_adag_with_a_huge_gamma_is_agn(form: str) -> None:
    assert np.array_equal(follow(adag(gamma=1e30, form=form), UNEVEN), follow(agn(), UNEVEN))


@pytest.mark.parametrize(
    ("form", "scales"),
    [("weight", [1 / (9 / 5 + 1), 1 / (16 / 5 + 1)]), ("norm", [1 / (25 / 5 + 1)] * 2),
     ("squared", [1 / (9 / 25 + 1), 1 / (16 / 25 + 1)])],
)  # fmt: skip
def test_adag_scales_by_how_far_the_center_moved(form: str, scales: list[float]) -> None:
    first, second = server(adag(gamma=5.0, form=form), array(0, 0), ([0], [0], [[3, 4]]), ([1], [1], [[1, 1]]))
    equal(first.center, 3, 4)
    equal(second.center, 3 + scales[0], 4 + scales[1])
    equal([second.metrics["scale_mean"][0], second.metrics["scale_min"][0]], np.mean(scales), min(scales))


def test_agn_with_gradients_is_agn_for_plain_sgd() -> None:
    gradients = centers("agn", window=3, settings={"commit": "gradient"})
    np.testing.assert_allclose(gradients, centers("agn", window=3), rtol=1e-4)


def test_agn_with_gradients_steps_with_the_local_optimizer_at_the_server() -> None:
    optimizer = build({"name": "agn", "window": 2, "commit": "gradient"}, local({"name": "momentum", "momentum": 0.5}))
    message, _ = optimizer.worker.commit(window(array(0), array(9), steps=2, gradient=array(8)), ())
    equal(message, 4)
    first, second = server(optimizer, array(10), ([0], [0], [[4]]), ([1], [1], [[2]]))
    equal([first.center[0], second.center[0]], 10 - 0.1 * 4, 9.6 - 0.1 * (0.5 * 4 + 2))


def local(settings: dict[str, Any]) -> Any:
    from distopt import local

    return local.build({"learning_rate": 0.1} | settings)


def test_downpour_with_the_same_sgd_at_the_server_is_downpour() -> None:
    server = {"name": "sgd", "learning_rate": SGD["learning_rate"]}
    np.testing.assert_allclose(
        centers("downpour", window=3, settings={"server": server}), centers("downpour", window=3), rtol=1e-4
    )


def test_downpour_with_adagrad_at_the_server_divides_by_the_root_of_the_summed_squares() -> None:
    adagrad = {"name": "adagrad", "learning_rate": 0.5, "initial_accumulator_value": 0.0, "eps": 1e-12}
    optimizer = downpour(server=adagrad)
    message, _ = optimizer.worker.commit(window(array(0), array(9), steps=2, gradient=array(8)), ())
    equal(message, 8)
    first, second = server(optimizer, array(10), ([0], [0], [[8]]), ([1], [1], [[6]]))
    equal([first.center[0], second.center[0]], 10 - 0.5, 9.5 - 0.5 * 6 / (8**2 + 6**2) ** 0.5)


def test_the_adagrad_that_is_suggested_to_downpour_is_distbeliefs() -> None:
    """−η₀ G / √(Σ G²), from the first commit on; what never had a gradient stays where it is."""
    text = resources.files("distopt.conf").joinpath("optimizer/downpour.yaml").read_text(encoding="utf-8")
    [suggested] = re.findall(r"\{.*?\}", text)
    settings = yaml.safe_load(suggested)
    gradients = np.array([[3, -0.02, 0], [-4, 0.01, 0], [1, 0.03, 0]])
    updates = server(downpour(server=settings), array(1, 2, 3), *[([0], [0], [list(g)]) for g in gradients])
    expected = np.array([1.0, 2.0, 3.0])
    for t, update in enumerate(updates):
        root = np.sqrt((gradients[: t + 1, :2] ** 2).sum(axis=0))
        expected[:2] -= settings["learning_rate"] * gradients[t, :2] / root
        np.testing.assert_allclose(update.center, expected, rtol=1e-6)


@pytest.mark.parametrize("form", ["weight", "norm", "squared"])
def test_scales_of_adag_are_above_0_and_at_most_1_however_far_the_center_moved(form: str) -> None:
    sizes = (1e-6, 1.0, 1e3)  # of commits, of which worker 1 has seen none
    updates = [([0], [0], [[size, -size]]) for size in sizes] + [([1], [3], [[1, 1]])]
    told = [update.metrics for update in server(adag(gamma=1e-4, form=form), array(0, 0), *updates)]
    assert [float(metrics["scale_min"][0]) for metrics in told[:3]] == [1, 1, 1]
    assert 0 < told[3]["scale_min"][0] <= told[3]["scale_mean"][0] < 1e-3


@pytest.mark.parametrize(
    ("weighted", "plain"),
    [
        *[(dynsgd(weighting=weighting), downpour()) for weighting in ("delay_plus_one", "delay", "constant")],
        (delay_adaptive(), downpour()),
        (softsync(splitting=1, workers=1), downpour()),
        (fedbuff(buffer=1, learning_rate=1.0, exponent=0.5), downpour()),
        *[(adag(gamma=1e-6, form=form), agn()) for form in ("weight", "norm", "squared")],
    ],
)
def test_where_nothing_comes_between_weights_of_staleness_are_1_in_every_commit(
    weighted: DistributedOptimizer, plain: DistributedOptimizer
) -> None:
    assert np.array_equal(follow(weighted, [0] * 6, workers=1), follow(plain, [0] * 6, workers=1))


def momentous(alpha: float, *, synchronous: bool) -> DistributedOptimizer:
    """EAMSGD with a given α."""
    return eamsgd(local=optax.sgd(0.1), rho=1, elastic_learning_rate=alpha, momentum=0.9, synchronous=synchronous)


@pytest.mark.parametrize(
    ("optimizer", "workers", "window", "word"),
    [
        (agn(), 20, 12, "12.4"),
        (adag(gamma=1.0), 40, 10, "25.1"),
        (easgd(rho=5, elastic_learning_rate=0.01), 40, 10, "0.0488"),
        (aeasgd(rho=5, elastic_learning_rate=0.3), 2, 10, "above 1"),
        (aeasgd(rho=1, elastic_learning_rate=0.0391, atomic=False), 40, 10, "above 2 s / (1 + s) = 0.039 with"),
        (aeasgd(rho=1, elastic_learning_rate=0.0965, atomic=False), 16, 10, "= 0.0964 with"),
        (aeasgd(rho=1, elastic_learning_rate=1.01, atomic=False), 1, 10, "atomic=true keeps them apart"),
        (momentous(0.05, synchronous=True), 40, 10, "above 2 / (n + 1) = 0.0488"),
        (momentous(0.118, synchronous=True), 16, 10, "0.118"),
        (momentous(1.01, synchronous=False), 2, 10, "= 1.01 is above 1"),
    ],
)
def test_known_bounds_warn(optimizer: DistributedOptimizer, workers: int, window: int, word: str) -> None:
    [warning] = optimizer.warnings(workers, window)
    assert word in warning


@pytest.mark.parametrize(
    "optimizer",
    [
        *(agn(), adag(gamma=1.0), easgd(rho=5, elastic_learning_rate=0.01), aeasgd(rho=5, elastic_learning_rate=0.2)),
        aeasgd(rho=1, elastic_learning_rate=0.096, atomic=False),
        *(momentous(0.117, synchronous=True), momentous(1.0, synchronous=False)),
    ],
)
def test_settings_within_the_bounds_do_not_warn(optimizer: DistributedOptimizer) -> None:
    assert optimizer.warnings(16, 10) == []


def test_a_run_says_which_bounds_it_exceeds() -> None:
    assert any("25.1" in warning for warning in experiment("agn", workers=40, window=10).warnings())


@pytest.mark.parametrize("a", [0.0, 0.5, 1.0])
def test_the_synchronous_elastic_exchange_is_stable_up_to_its_bound_and_no_further(a: float) -> None:
    n = 4
    bound = (4 - 2 * a) / (2 * (n + 1) - (n + 2) * a)
    assert np.abs(_elastic_center(0.98 * bound, a, n)) < 2
    assert np.abs(_elastic_center(1.02 * bound, a, n)) > 100


def _elastic_center(alpha: float, a: float, workers: int) -> float:
    """Let workers that a window brings nearer to 0 by a share of `a` exchange, and return where the center is then."""
    rules = easgd(rho=1.0, elastic_learning_rate=alpha)
    center, where = array(1), jnp.zeros((workers, 1))
    for _ in range(300):
        ends = (1 - a) * where
        commits = Commits(jnp.arange(workers), jnp.zeros(workers, jnp.int32), ends, jnp.tile(center, (workers, 1)))
        update = rules.server.update(commits, (), center)
        where = ends - update.replies
        center = update.center
    return float(center[0])
