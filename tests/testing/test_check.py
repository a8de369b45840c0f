"""The contract suite accepts rules that keep the contract, known by name or not, and says what others break."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt.optimizers.downpour import downpour
from distopt.optimizers.parts import additive, adopt_center, commit_delta, elastic, mean
from distopt.rules import BARRIER, DistributedOptimizer, ServerRule, Synchrony, Update, WorkerRule
from distopt.testing import check

GOOD = downpour()


def backup_workers(*, late: int) -> DistributedOptimizer:
    """An author's own: the mean of the deltas of all but `late` of three workers."""
    return GOOD._replace(server=additive(fold=lambda commits: mean(commits.message)), synchrony=Synchrony(3 - late))


@pytest.mark.parametrize("late", [0, 1, 2])
def test_other_peoples_optimizers_pass_at_every_quorum(late: int) -> None:
    check(backup_workers, late=late)


def with_commit(commit: Callable) -> DistributedOptimizer:
    return GOOD._replace(worker=WorkerRule(commit, adopt_center))


def with_update(update: Callable, init: Callable = lambda center, workers: ()) -> DistributedOptimizer:
    return GOOD._replace(server=ServerRule(init, update))


def impure() -> DistributedOptimizer:
    calls: list[int] = []

    def commit(window, state):
        calls.append(0)
        return jax.tree.map(lambda a, b: (a - b) / len(calls), window.end, window.start), state

    return with_commit(commit)


def changes_inputs() -> DistributedOptimizer:
    def update(commits, state, center):
        state["steps"] = state["steps"] + 1
        return Update(jax.tree.map(lambda c, m: c + m[0], center, commits.message), dict(state))

    return with_update(update, lambda center, workers: {"steps": jnp.zeros((), jnp.int32)})


def changes_dtype() -> DistributedOptimizer:
    return GOOD._replace(
        worker=WorkerRule(
            commit_delta, lambda reply, window, state: (jax.tree.map(lambda r: r.astype(jnp.bfloat16), reply), state)
        )
    )


def grows() -> DistributedOptimizer:
    return with_update(lambda commits, state, center: Update(center, (*state, commits.worker)))


def not_an_update() -> DistributedOptimizer:
    return with_update(lambda commits, state, center: (center, state))


def replies_for_one() -> DistributedOptimizer:
    return with_update(lambda commits, state, center: Update(center, state, replies=center))


def cannot_be_compiled() -> DistributedOptimizer:
    def commit(window, state):
        return jax.tree.map(lambda a, b: np.subtract(a, b), window.end, window.start), state

    return with_commit(commit)


def compiles_again() -> DistributedOptimizer:
    def update(commits, state, center):
        return Update(jax.tree.map(lambda c, m: c + m[0], center, commits.message), jnp.int32(state + 1))

    return with_update(update, lambda center, workers: 0)


def climbs() -> DistributedOptimizer:
    return with_commit(lambda window, state: (jax.tree.map(jnp.subtract, window.start, window.end), state))


def drifts() -> DistributedOptimizer:
    return with_update(
        lambda commits, state, center: Update(
            jax.tree.map(lambda c, m: 0.99 * c + m[0], center, commits.message), state
        )
    )


def has_a_favourite() -> DistributedOptimizer:
    def fold(commits):
        return jax.tree.map(lambda m: jnp.where(commits.worker[0] == 0, 1.0, 0.1) * m[0], commits.message)

    return GOOD._replace(server=additive(fold=fold))


def hears_only_the_first() -> DistributedOptimizer:
    return GOOD._replace(
        server=additive(fold=lambda commits: jax.tree.map(lambda m: m[0], commits.message)), synchrony=BARRIER
    )


def differs_every_time() -> DistributedOptimizer:
    scale = np.random.default_rng().uniform(0.5, 1)
    return with_commit(
        lambda window, state: (jax.tree.map(lambda a, b: scale * (a - b), window.end, window.start), state)
    )


def says_delta_and_sends_a_number() -> DistributedOptimizer:
    return GOOD._replace(worker=WorkerRule(lambda window, state: (window.steps, state), adopt_center, sends="delta"))


def gains_half_of_its_replies() -> DistributedOptimizer:
    worker, server = elastic(rho=1.0, elastic_learning_rate=0.5)

    def update(commits, state, center):
        update = server.update(commits, state, center)
        return update._replace(center=jax.tree.map(lambda c, e: c + 0.5 * e[0], center, update.replies))

    return DistributedOptimizer(worker, ServerRule(server.init, update))


@pytest.mark.parametrize(
    ("factory", "promise"),
    [
        (impure, "commit: gives another result when called again"),
        (changes_inputs, "update: changes its inputs"),
        (changes_dtype, "adopt: the parameters must keep"),
        (grows, "update: the server's state must keep"),
        (not_an_update, "update: returns .*tuple"),
        (replies_for_one, "update: replies of shape"),
        (cannot_be_compiled, "commit: cannot be compiled"),
        (compiles_again, "update: is compiled again"),
        (climbs, "descent sign|diverged"),
        (drifts, "moved the center"),
        (has_a_favourite, "how the workers are numbered"),
        (hears_only_the_first, "how the workers are numbered"),
        (differs_every_time, "give other bits"),
        (lambda: GOOD._replace(worker=GOOD.worker._replace(sends="deltas")), "sends='deltas' must be one of"),
        (says_delta_and_sends_a_number, "a message of the kind delta"),
        (gains_half_of_its_replies, "must gain the sum of its replies"),
        (lambda: downpour(), "cannot be pickled"),
        (lambda: GOOD.worker, "no DistributedOptimizer"),
        (lambda: GOOD._replace(synchrony=Synchrony(0)), "quorum=0"),
    ],
)
def test_broken_promises_are_named(factory: Callable[[], DistributedOptimizer], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check(factory)
