"""Sandblaster L-BFGS: every portion counts once, whoever computes it, and the passes find the minimum."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt.optimizers.parts.line_search import Search
from distopt.optimizers.parts.portions import Board, Task
from distopt.optimizers.sandblaster import Commit, Coordinator, Sums, sandblaster
from distopt.rules import Commits, Update
from distopt.testing import train
from distopt.training.batches import portion_indices
from distopt.training.experiment import Experiment
from tests.optimizers.tools import array, equal
from tests.small import UNEVEN, blobs, experiment

SETTINGS = {"portions": 4, "memory": 10, "sufficient_decrease": 1e-4, "curvature": 0.9, "trials": 20}
EXACT = SETTINGS | {"portions": 1, "curvature": 1e-3}
CURVATURES = [1.0, 3.0, 10.0, 30.0]


def logistic(workers: int) -> Experiment:
    """24 samples in 4 portions of 2 batches of 3."""
    data = {"model": {"name": "logistic"}, "data": blobs(), "batch_size": 3, "window": 2}
    return experiment("sandblaster", workers=workers, settings=SETTINGS, **data)


def losses(built: Experiment, order: Iterable[int], passes: int = 6) -> list[float]:
    """The loss of the last accepted point after each of some passes."""
    trained = train(built, order)
    found = {0.0: trained.evals[0]["loss"]}
    for row, commit in zip(trained.evals[2::2], trained.commits, strict=True):
        if not commit["duplicate"]:
            found[commit["pass"] + 1] = row["loss"]  # the last one of a pass stands
    return [found[float(number)] for number in range(passes + 1)]


@pytest.mark.parametrize("order", [UNEVEN * 3, [0, 1] * 30], ids=["uneven", "worker 2 is lost"])
def test_who_computes_a_portion_changes_nothing(order: list[int]) -> None:
    alone = losses(logistic(1), [0] * 30)
    np.testing.assert_allclose(losses(logistic(3), order), alone, rtol=1e-4)
    assert alone[-1] < 0.8 * alone[0]


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_a_quadratic_takes_a_step_per_dimension_with_an_exact_line_search(dimensions: int) -> None:
    model = {"name": "quadratic", "start": [1.0] * dimensions, "curvatures": CURVATURES[:dimensions], "noise": 0.0}
    trained = train(experiment("sandblaster", model=model, workers=1, settings=EXACT), [0] * 4 * (dimensions + 2))
    points = list(dict.fromkeys(row["loss"] for row in trained.evals))
    assert points[min(dimensions + 1, len(points) - 1)] < 1e-5 * points[0]


@pytest.mark.parametrize(("function", "start"), [("rosenbrock", [-1.2, 1.0]), ("beale", [1.0, 1.0])])
def test_curved_valleys_are_followed_to_the_minimum(function: str, start: list[float]) -> None:
    model = {"name": function, "start": start, "noise": 0.0}
    built = experiment("sandblaster", model=model, workers=1, settings=SETTINGS | {"portions": 1})
    values = train(built, [0] * 70).losses
    assert values[-1] < 1e-6
    assert (np.diff(values) <= 0).all()  # what is kept never gets worse, whatever the line search tries


def answer(state: Coordinator, worker: int, task: Task, gradient: float) -> Update:
    """Fold a portion of f(x) = x²/2 + const with its gradient into the state; the center is at 2."""
    sums = Sums(array(gradient), jnp.float32(gradient**2 / 2), jnp.int32(1))
    message = jax.tree.map(lambda leaf: leaf[None], Commit(task, sums))
    rule = sandblaster(**SETTINGS | {"portions": 2}).server
    return rule.update(Commits(jnp.array([worker]), jnp.array([0]), message, array([2])), state, array(2))


def test_copies_count_once_and_late_ones_are_dropped() -> None:
    state = sandblaster(**SETTINGS | {"portions": 2}).server.init(array(2), 3)
    first = answer(state, 0, Task.first(), 1.0)  # workers 0 and 2 were given portion 0, worker 1 portion 1
    assert (first.replies.task.portion, first.metrics["duplicate"]) == (1, 0)
    again = answer(first.state, 2, Task.first(), 1.0)
    assert again.metrics["duplicate"] == 1
    equal(again.state.sums.gradient, 1)
    equal(again.center, 2)
    last = answer(again.state, 1, Task.first(), 3.0)
    assert (last.metrics["duplicate"], last.replies.task.round) == (0, 1)
    equal(last.center, 2 - 1)  # the mean gradient is 2; the first step has length 1
    late = answer(last.state, 0, Task(jnp.int32(0), jnp.int32(1)), 3.0)
    assert late.metrics["duplicate"] == 1
    equal(late.state.sums.gradient, 0)
    assert (late.replies.task.round, late.replies.task.portion) == (1, 1)


def test_portions_are_given_in_order_then_copies_of_the_longest_under_way() -> None:
    board, given = Board.begin(5, workers=2), []
    for _ in range(3):
        board, task = board.give()
        given.append(int(task.portion))
    board, _ = board.tick(Task(board.round, jnp.int32(0)), jnp.int32(0))
    for _ in range(5):
        board, task = board.give()
        given.append(int(task.portion))
    assert given == [2, 3, 4, 1, 2, 3, 4, 1]


def test_portions_take_every_sample_once() -> None:
    rows = [portion_indices(jnp.int32(p), 24, (2, 3)) for p in range(4)]
    assert sorted(np.ravel(rows)) == list(range(24))
    assert np.ravel(portion_indices(jnp.int32(4), 26, (2, 3))).tolist() == [24, 25, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda a: (a - 30) ** 2, lambda a: 2 * (a - 30)),
        (lambda a: -a / (a**2 + 2), lambda a: (a**2 - 2) / (a**2 + 2) ** 2),
        (lambda a: a**5 - 2 * a**4 - a, lambda a: 5 * a**4 - 8 * a**3 - 1),
        (lambda a: (a - 1e-3) ** 4, lambda a: 4 * (a - 1e-3) ** 3),
    ],
    ids=["parabola", "rational", "polynomial", "short"],
)
def test_a_line_search_ends_where_it_should(
    function: Callable[[float], float], slope: Callable[[float], float]
) -> None:
    c1, c2 = 1e-4, 0.1
    search = Search.begin(jnp.float32(function(0.0)), jnp.float32(slope(0.0)))
    for _ in range(15):
        told = jnp.float32(function(float(search.step))), jnp.float32(slope(float(search.step)))
        if search.ends(*told, c1, c2):
            break
        search = search.next(*told, c1)
    step = float(search.step)
    assert function(step) <= function(0) + c1 * step * slope(0)
    assert abs(slope(step)) <= c2 * abs(slope(0))


def test_the_slope_of_a_parabola_leads_to_its_minimum() -> None:
    search = Search.begin(jnp.float32(16), jnp.float32(-8)).next(jnp.float32(9), jnp.float32(-6), 1e-4)  # (α − 4)²
    assert float(search.step) == pytest.approx(4)


def test_windows_are_whole_portions() -> None:
    built = experiment("sandblaster", workers=3, epochs=1, batch_size=3, data=blobs(), window=2, settings=SETTINGS,
                       model={"name": "logistic"})  # fmt: skip
    assert built.budget.tolist() == [4, 4, 4]  # 3 steps would do for an epoch
    assert built.warnings() == []


def test_portions_that_miss_samples_and_workers_without_a_portion_are_told() -> None:
    built = experiment(
        "sandblaster", workers=5, batch_size=3, data=blobs(), settings=SETTINGS, model={"name": "logistic"}
    )
    uncovered, copies = built.warnings()
    assert "12 samples of 24: optimizer.window=2" in uncovered
    assert "4 of 5 workers" in copies


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"model": {"name": "mlp", "hidden": [4], "dropout": 0.2}, "data": blobs(), "batch_size": 3, "window": 2},
         "model.dropout=0.2"),
        ({"model": {"name": "booth", "start": [1.0, 1.0], "noise": 0.5}}, "model.noise=0.5"),
    ],
)  # fmt: skip
def test_models_that_are_another_function_in_every_pass_are_warned_of(options: dict[str, Any], word: str) -> None:
    built = experiment("sandblaster", workers=3, settings=SETTINGS, **options)
    [warning] = built.warnings()
    assert word in warning
    setting = word[6 : word.index("=")]
    exact = experiment(
        "sandblaster", workers=3, settings=SETTINGS, **options | {"model": options["model"] | {setting: 0.0}}
    )
    assert exact.warnings() == []
    assert experiment("averaging", workers=3, **options).warnings() == []
