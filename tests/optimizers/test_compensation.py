"""Methods that correct stale commits or look ahead of them: DC-ASGD, Gap-Aware, DANA-Slim, EAMSGD."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distopt.optimizers.dana import dana
from distopt.optimizers.dcasgd import dcasgd
from distopt.optimizers.downpour import downpour
from distopt.optimizers.gap_aware import gap_aware
from tests.optimizers.tools import array, centers, equal, follow, server, window
from tests.small import BOOTH, SGD, UNEVEN

ELASTIC = {"rho": 5.0, "elastic_learning_rate": 0.04}
CONSTANT: dict[str, Any] = {"compensation": 0.0, "adaptive": False, "decay": 0.95, "eps": 1e-7}


@pytest.mark.parametrize(("optimizer", "settings"), [("dcasgd", CONSTANT), ("dana", {"momentum": 0.0})])
def test_without_compensation_and_momentum_it_is_downpour(optimizer: str, settings: dict[str, Any]) -> None:
    np.testing.assert_allclose(centers(optimizer, settings=settings), centers("downpour"), rtol=1e-5)


def test_dana_with_one_worker_is_nesterov() -> None:
    inner = SGD | {"name": "nesterov", "momentum": 0.8}
    alone = centers("sequential", [0] * 12, workers=1, local=inner)
    np.testing.assert_allclose(
        centers("dana", [0] * 12, workers=1, settings={"momentum": 0.8}), alone, rtol=1e-4, atol=1e-6
    )


def test_dana_keeps_momentum_in_the_worker() -> None:
    rule = dana(local=optax.sgd(0.1), momentum=0.5).worker
    still = window(array(0), array(0), gradient=array(4))
    first, velocity = rule.commit(still, rule.init(array(0)))
    equal(first, 4 + 0.5 * 4)
    equal(rule.commit(still, velocity)[0], 4 + 0.5 * (0.5 * 4 + 4))


def test_dcasgd_compensates_exactly_where_the_squared_gradient_is_the_curvature() -> None:
    """f(θ) = θ²/2 has gradient θ and curvature 1: at a pull of 1 the compensated gradient is that of the center."""
    optimizer = dcasgd(local=optax.sgd(0.5), **CONSTANT | {"compensation": 1.0})
    first, second = server(optimizer, array(1), ([0], [0], [[1]]), ([1], [1], [[1]]))
    equal(first.center, 1 - 0.5 * 1)
    equal(second.center, 0.5 - 0.5 * 0.5)


def test_adaptive_dcasgd_divides_by_the_root_mean_square() -> None:
    settings = CONSTANT | {"compensation": 0.5, "adaptive": True, "decay": 0.75, "eps": 1.0}
    first, second = server(dcasgd(local=optax.sgd(0.1), **settings), array(1), ([0], [0], [[4]]), ([1], [1], [[2]]))
    equal(first.center, 1 - 0.1 * 4)
    square = 0.75 * (0.25 * 16) + 0.25 * 4
    equal(second.center, 0.6 - 0.1 * (2 + 0.5 / (square + 1) ** 0.5 * 4 * (0.6 - 1)))


def test_gap_aware_without_staleness_is_downpour() -> None:
    optimizer = gap_aware(decay=0.9, eps=1e-12)
    assert np.array_equal(follow(optimizer, [0] * 6, workers=1), follow(downpour(), [0] * 6, workers=1))


def test_gap_aware_halves_a_commit_when_the_center_moved_by_a_usual_one() -> None:
    (_, update) = server(gap_aware(decay=0.999, eps=1e-12), array(10, 5), ([0], [0], [[2, 0]]), ([1], [1], [[-2, 1]]))
    np.testing.assert_allclose(update.center, [12 - 2 / 2, 5 + 1], rtol=1e-4)
    scales = [update.metrics[name][0] for name in ("scale_min", "scale_mean")]
    np.testing.assert_allclose(scales, [0.5, 0.75], rtol=1e-4)


def test_gap_aware_does_not_depend_on_the_size_of_steps() -> None:
    def scales(size: float) -> list[Any]:
        updates = [([k], [0], [[size * (i - 2)]]) for i, k in enumerate([0, 1, 2, 2, 0])]
        results = server(gap_aware(decay=0.9, eps=1e-12), array(0), *updates, workers=3)
        return [update.metrics["scale_mean"] for update in results]

    np.testing.assert_allclose(scales(1), scales(100), rtol=1e-5)
    assert min(scales(1)) < 0.9


@pytest.mark.parametrize(("synchronous", "twin", "order"), [(True, "easgd", [0, 1, 2] * 6), (False, "aeasgd", UNEVEN)])
def test_eamsgd_without_momentum_is_elastic_averaging(synchronous: bool, twin: str, order: list[int]) -> None:
    settings = ELASTIC | {"momentum": 0.0, "synchronous": synchronous}
    plain = centers(twin, order, window=3, settings=ELASTIC)
    np.testing.assert_allclose(centers("eamsgd", order, window=3, settings=settings), plain, rtol=1e-6)


@pytest.mark.parametrize(("synchronous", "order"), [(True, [0, 1, 2] * 6), (False, UNEVEN)])
def test_eamsgd_follows_the_paper(synchronous: bool, order: list[int]) -> None:
    """The paper's form, which keeps xᵏ and looks ahead for the gradient, in NumPy."""
    mu, alpha, rate = 0.8, 0.2, SGD["learning_rate"]
    center = np.array(BOOTH["start"])
    x, v, expected = np.tile(center, (3, 1)), np.zeros((3, 2)), [center]
    for i in range(0, len(order), 3 if synchronous else 1):
        group = order[i : i + (3 if synchronous else 1)]
        for k in group:
            for _ in range(3):
                a, b = x[k] + mu * v[k]
                gradient = [2 * (a + 2 * b - 7) + 4 * (2 * a + b - 5), 4 * (a + 2 * b - 7) + 2 * (2 * a + b - 5)]
                v[k] = mu * v[k] - rate * np.array(gradient)
                x[k] += v[k]
        difference = alpha * (x[group] - center)
        x[group] -= difference
        center = center + difference.sum(axis=0)
        expected.append(center)
    settings = ELASTIC | {"momentum": mu, "synchronous": synchronous}
    actual = centers("eamsgd", order, window=3, settings=settings)
    np.testing.assert_allclose(actual, expected, rtol=1e-3)


def test_eamsgd_sends_where_it_is_not_where_it_looks() -> None:
    from distopt.optimizers.eamsgd import eamsgd

    optimizer = eamsgd(local=optax.sgd(0.1), **ELASTIC, momentum=0.5, synchronous=False)
    assert optimizer.local is not None
    step, state = optimizer.local.update(array(2), optimizer.local.init(array(10)), array(10))
    end = array(10) + step
    equal(end, 10 - 0.2 + 0.5 * -0.2)
    message, _ = optimizer.worker.commit(window(array(10), end, local=state), ())
    equal(message, 10 - 0.2)
    assert jnp.shape(message) == (1,)
