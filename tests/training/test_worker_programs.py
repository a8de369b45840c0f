"""A worker's windows against plain Python loops, and what its random numbers depend on."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

from distopt.training.batches import Batches, Itinerary
from distopt.training.experiment import Experiment
from distopt.training.shapes import shapes
from distopt.training.worker import Flight, Kept
from distopt.training.worker_programs import Replica
from tests.small import ADAM, SGD, blobs, experiment

MLP = {"name": "mlp", "hidden": [5], "dropout": 0.0}
MOMENTUM = {"name": "momentum", "learning_rate": 0.05, "momentum": 0.9, "on_pull": "keep"}


def small(optimizer: str = "downpour", **options: Any) -> Experiment:
    defaults = {"window": 4, "workers": 2, "batch_size": 3, "model": MLP, "local": ADAM, "data": blobs()}
    return experiment(optimizer, **defaults | options)


def with_dropout(**options: Any) -> Experiment:
    return small(model=MLP | {"dropout": 0.5}, **options)


def fly(replica: Replica, batches: Batches) -> Flight:
    return replica.fly(replica.begin(), batches)


def close(a: Any, b: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)


def identical(a: Any, b: Any) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: np.array_equal(x, y), a, b)))


def test_a_window_is_a_loop_of_optax_steps() -> None:
    it = small()
    replica, batches = Replica(it), Itinerary(it, 1).next()
    flight = fly(replica, batches)
    params, state, losses = replica.params, it.local.init(replica.params), []
    for indices in batches.indices:
        batch = (it.dataset.train[0][indices], it.dataset.train[1][indices])
        (loss, _), gradient = jax.value_and_grad(it.model.loss, has_aux=True)(params, {}, batch, jax.random.key(9))
        updates, state = it.local.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(loss)
    assert batches.steps == 4
    close(flight.window.end, params)
    close(flight.message, jax.tree.map(lambda a, b: a - b, params, replica.params))
    assert float(flight.measured["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert 0 <= float(flight.measured["accuracy"]) <= 1


def test_a_synchronous_worker_stays_and_sums_gradients() -> None:
    it = small("synchronous")
    replica, batches = Replica(it), Itinerary(it, 0).next()
    flight = fly(replica, batches)
    rows = batches.indices.ravel()  # the mean of four batches' gradients is the gradient of all twelve samples
    batch = (it.dataset.train[0][rows], it.dataset.train[1][rows])
    expected = jax.grad(lambda params: it.model.loss(params, {}, batch, jax.random.key(9))[0])(replica.params)
    close(flight.message, expected)
    assert identical(flight.window.end, replica.params)


def test_the_tail_of_a_budget_is_a_shorter_window() -> None:
    it = small(epochs=3, window=7)  # 2 shards of 12 samples, batches of 3: 12 steps each
    itinerary = Itinerary(it, 0)
    assert [int(itinerary.next().steps) for _ in range(2)] == [7, 5]
    assert itinerary.remaining == 0
    assert it.budget.tolist() == [12, 12]


def test_windows_of_any_length_take_the_same_steps() -> None:
    """Twelve steps as windows of 7 and 5, or of 4, 4 and 4: keys and batches belong to steps, not to windows."""
    ends = []
    for window in (7, 4):
        it = with_dropout(epochs=3, window=window)
        replica, itinerary = Replica(it), Itinerary(it, 1)
        position = replica.begin()
        while itinerary.remaining:
            flight = replica.fly(position, itinerary.next())
            position = replica.land(flight.window.end, flight)
        ends.append(position.params)
    close(*ends)


def test_dropout_depends_on_seed_worker_and_step_alone() -> None:
    replica = Replica(with_dropout())
    batches = Itinerary(replica.experiment, 0).next()
    first = fly(replica, batches).window.end
    assert identical(first, fly(Replica(with_dropout()), batches).window.end)
    assert not identical(first, fly(replica, batches._replace(worker=np.int32(1))).window.end)
    assert not identical(first, fly(replica, batches._replace(first_step=np.int32(1))).window.end)
    reseeded = Replica(with_dropout(seed=1))
    reseeded.params = replica.params
    assert not identical(first, fly(reseeded, batches).window.end)


def test_initial_parameters_depend_on_the_seed_alone() -> None:
    first = Replica(small()).params
    assert identical(first, Replica(small("agn", workers=5, window=1, batch_size=2, local=SGD)).params)
    assert not identical(first, Replica(small(seed=1)).params)


@pytest.mark.parametrize("on_pull", ["keep", "reset"])
def test_the_local_state_survives_a_pull_if_asked(on_pull: str) -> None:
    replica = Replica(small(local=MOMENTUM | {"on_pull": on_pull}))
    flight = fly(replica, Itinerary(replica.experiment, 0).next())
    state = replica.land(replica.params, flight).local
    momentum = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(state))
    assert (momentum > 0) == (on_pull == "keep")
    if on_pull == "keep":
        assert identical(state, flight.local)


@pytest.mark.parametrize("on_pull", ["keep", "reset"])
def test_who_goes_on_in_a_workers_place_has_its_local_state_as_after_any_pull(on_pull: str) -> None:
    made = small(local=ADAM | {"on_pull": on_pull})
    replica = Replica(made)
    flight = fly(replica, Itinerary(made, 0).next())
    kept = jax.tree.map(np.array, flight.kept)
    before = jax.tree.map(np.copy, kept)
    center = jax.tree.map(lambda leaf: leaf + 1, replica.params)
    position = replica.begin(center, kept)
    assert identical(position.params, center)
    assert identical(position.local, kept.local if on_pull == "keep" else replica.begin(center).local)
    jax.block_until_ready(replica.fly(position, Itinerary(made, 0).next()))
    assert identical(kept, before), "its buffers are not its own"


@pytest.mark.parametrize(
    ("optimizer", "settings", "knows"),
    [
        ("gem", {"kappa": 2.0, "momentum": 0.9, "eps": 1e-6, "most": 5.0, "ahead": True}, lambda rule: rule.seen),
        (
            "easgd",
            {"rho": 1.0, "elastic_learning_rate": 0.1, "equilibrium": "relative", "tolerance": 0.1},
            lambda rule: rule,
        ),
    ],
)
def test_what_a_rule_knows_of_the_center_is_that_of_the_last_pull(optimizer: str, settings: Any, knows: Any) -> None:
    replica = Replica(small(optimizer, settings=settings))
    center = jax.tree.map(lambda leaf: leaf + 1, replica.params)
    began = replica.begin()
    position = replica.begin(center, Kept(began.local, began.model, began.rule))
    assert identical(knows(position.rule), center)


def test_full_and_tail_windows_share_one_program() -> None:
    it, traces = small(epochs=3, window=7), []

    def forward(*arguments: Any) -> Any:
        traces.append(0)
        return it.model.forward(*arguments)

    replica, itinerary = Replica(it._replace(model=it.model._replace(forward=forward))), Itinerary(it, 0)
    flight = fly(replica, itinerary.next())
    after_first = len(traces)
    tail = replica.fly(replica.land(replica.params, flight), itinerary.next())
    assert int(tail.window.steps) == 5
    assert len(traces) == after_first > 0


@pytest.mark.parametrize("optimizer", ["downpour", "synchronous", "dana"])
def test_a_commit_that_waits_for_the_center_is_the_one_made_at_once(optimizer: str) -> None:
    it = small(optimizer, settings={"momentum": 0.5} if optimizer == "dana" else None)
    rules = it.optimizer._replace(worker=it.optimizer.worker._replace(pull=True))
    at_once, waiting = Replica(it), Replica(it._replace(optimizer=rules))
    first, second = (fly(replica, Itinerary(it, 1).next()) for replica in (at_once, waiting))
    assert second.message is None
    second = waiting.commit(second, waiting.params)
    close(first.message, second.message)
    close(*(replica.land(replica.params, flight) for replica, flight in ((at_once, first), (waiting, second))))


@pytest.mark.parametrize("optimizer", ["agn", "averaging", "synchronous"])
def test_shapes_are_those_of_what_travels(optimizer: str) -> None:
    it = small(optimizer)
    layout, replica = shapes(it), Replica(it)
    flight = fly(replica, Itinerary(it, 0).next())
    for promised, sent in ((layout.message, flight.message), (layout.params, replica.params)):
        assert jax.tree.map(lambda s: (s.shape, s.dtype), promised) == jax.tree.map(lambda a: (a.shape, a.dtype), sent)
    assert layout.reply == layout.params
    assert layout.center == ()


def test_steps_taken_one_by_one_have_the_bits_of_those_taken_at_once() -> None:
    replica = Replica(small("zealous", settings={"explore": True}, model=MLP | {"dropout": 0.5}))
    batches, position = Itinerary(replica.experiment, 1).next(), replica.begin()
    progress = replica.depart(position)
    for steps in range(1, 4):
        progress = replica.step(position, progress, batches._replace(steps=np.int32(steps)))
    one_by_one = replica.arrive(position, progress, batches)
    at_once = replica.fly(replica.begin(), batches._replace(steps=np.int32(3)))
    assert identical(one_by_one, at_once)
    assert int(one_by_one.window.steps) == 3
