"""Compressed exchanges: nothing is lost for good, both sides apply the same, and what makes no sense is refused."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distopt import optimizers
from distopt.compression import Compressor, apply, compressed
from distopt.config import compose, validate
from distopt.errors import ConfigError
from distopt.optimizers.aeasgd import aeasgd
from distopt.optimizers.agn import agn
from distopt.optimizers.downpour import downpour
from distopt.optimizers.easgd import easgd
from distopt.optimizers.ringmaster import ringmaster
from distopt.rules import Commits, DistributedOptimizer, Window
from distopt.testing import train
from distopt.training.server import Server
from tests.compression.tools import METHODS, NOTHING, flat
from tests.marks import slow
from tests.optimizers.tools import array, delivery
from tests.small import UNEVEN, experiment


@pytest.fixture
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def windows(count: int, whole: bool) -> list[Window]:
    """Windows of random updates of a matrix and a vector, of whole numbers if so asked."""
    rng, made = np.random.default_rng(0), []
    for i in range(count):
        end = {"b": rng.normal(size=6), "w": rng.normal(size=(12, 10))}
        end = {name: jnp.asarray(np.round(1000 * a) if whole else a) for name, a in end.items()}
        start = jax.tree.map(jnp.zeros_like, end)
        made.append(Window(start, end, jnp.int32(1), key=jax.random.key(i)))
    return made


def send(method: Compressor, commits: list[Window]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of what arrives at the server, and what is left with the worker."""
    rule = compressed(downpour(), method, error_feedback=True).worker
    state, commit, arrived = rule.init(commits[0].end), jax.jit(rule.commit), np.zeros(126)
    for window in commits:
        code, state = commit(window, state)
        arrived = arrived + flat(method.decode(code, window.end))
    return arrived, flat(state.error)


@pytest.mark.parametrize("name", ["bf16", "stochastic", "topk"])
def test_what_was_sent_and_what_is_left_sum_up_exactly(name: str) -> None:
    commits = windows(40, whole=True)
    arrived, left = send(METHODS[name], commits)
    assert left.any()
    np.testing.assert_array_equal(arrived + left, sum(flat(window.end) for window in commits))


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", METHODS)
def test_no_method_loses_anything(name: str) -> None:
    commits = windows(40, whole=False)
    arrived, left = send(METHODS[name], commits)
    assert left.dtype == np.float64
    np.testing.assert_allclose(arrived + left, sum(flat(window.end) for window in commits), rtol=0, atol=1e-13)


def test_without_error_feedback_a_commit_is_encoded_as_it_is() -> None:
    rule = compressed(downpour(), METHODS["topk"], error_feedback=False).worker
    [window] = windows(1, whole=False)
    code, state = rule.commit(window, rule.init(window.end))
    expected, _ = METHODS["topk"].encode(window.end, (), window.key)
    np.testing.assert_array_equal(code.value, expected.value)
    assert state.error == ()


@pytest.mark.parametrize("name", ["agn", "synchronous", "aeasgd", "easgd"])
def test_a_method_that_leaves_nothing_out_changes_no_bit(name: str) -> None:
    settings = {"rho": 1.0, "elastic_learning_rate": 0.1} if "easgd" in name else {}
    plain = experiment(name, window=3, workers=3, settings=settings)
    wrapped = plain._replace(optimizer=compressed(plain.optimizer, NOTHING, error_feedback=True))
    order = [0, 1, 2] * 6 if plain.quorum > 1 else UNEVEN
    one, other = train(plain, order), train(wrapped, order)
    assert one.center["x"].tobytes() == other.center["x"].tobytes()
    assert [row["commit_norm"] for row in one.commits] == [row["commit_norm"] for row in other.commits]


def exchange(optimizer: DistributedOptimizer, rounds: int) -> Iterator[tuple[Any, list[Any]]]:
    """Let three workers that stay where they are exchange with the center; yield it and them after each exchange."""
    rng, n = np.random.default_rng(0), 3
    center, state = {"w": jnp.asarray(rng.normal(size=(12, 10)))}, optimizer.server.init({}, n)
    workers = [{"w": jnp.asarray(rng.normal(size=(12, 10)))} for _ in range(n)]
    memories = [optimizer.worker.init(worker) for worker in workers]
    commit, fold, adopt = map(jax.jit, (optimizer.worker.commit, optimizer.server.update, optimizer.worker.adopt))
    yield center, list(workers)
    for i in range(rounds):
        who = [i % n] if optimizer.synchrony.quorum == 1 else list(range(n))
        at = [Window(workers[k], workers[k], jnp.int32(1), key=jax.random.key(i * n + k), center=center) for k in who]
        each = [commit(window, memories[k]) for window, k in zip(at, who, strict=True)]
        messages = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[message for message, _ in each])
        update = fold(Commits(jnp.array(who), jnp.zeros(len(who)), messages, None), state, center)
        center = update.center
        for j, k in enumerate(who):
            reply = jax.tree.map(lambda leaf, j=j: leaf[j], update.replies)
            workers[k], memories[k] = adopt(reply, at[j], each[j][1])
        yield center, list(workers)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("factory", [aeasgd, slow(easgd), slow(partial(aeasgd, atomic=False))])
def test_an_elastic_exchange_moves_both_sides_by_the_same(name: str, factory: Any) -> None:
    rule = compressed(factory(rho=1.0, elastic_learning_rate=0.2), METHODS[name], error_feedback=True)
    seen = list(exchange(rule, 45))
    sums = [flat(center) + sum(map(flat, workers)) for center, workers in seen]
    np.testing.assert_allclose(sums, [sums[0]] * len(sums), rtol=0, atol=1e-13)
    apart = [sum(np.sum((flat(worker) - flat(center)) ** 2) for worker in workers) for center, workers in seen]
    assert apart[-1] < 0.2 * apart[0]


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        (["optimizer=averaging", "compression=topk"], r"compression=topk optimizer=averaging: .* parameters.*diloco"),
        (["optimizer=fedasync", "compression=bf16"], "send parameters"),
        (["optimizer=sandblaster", "compression=bf16"], "needs exact sums"),
        (["compression=topk", "compression.share=1.5"], r"share=1.5 must be a number > 0 and <= 1"),
        (["compression=qsgd", "compression.levels=0"], "levels=0"),
        (["compression=int8", "compression.error_feedback=maybe"], "error_feedback=maybe must be true or false"),
        (["compression=int9"], r"compression=int9: no such choice; did you mean int8\?"),
        (["compression=int8", "compression.share=1"], r"compression\.share: no such key"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(overrides: list[str], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        validate(compose(overrides))


def test_an_optimizer_that_does_not_say_what_it_sends_is_refused() -> None:
    silent = downpour()._replace(worker=downpour().worker._replace(sends=None))
    with pytest.raises(ValueError, match=r"WorkerRule\.sends"):
        compressed(silent, METHODS["int8"], error_feedback=True)
    with pytest.raises(ValueError, match="compressed already"):
        compressed(compressed(downpour(), METHODS["int8"], True), METHODS["int8"], True)


def test_no_compression_is_the_optimizer_itself() -> None:
    optimizer = agn()
    assert apply(optimizer, {"name": "none"}) is optimizer


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"name": "sign", "error_feedback": False}, "sign without error feedback"),
        ({"name": "qsgd", "levels": 3, "bucket": 128, "error_feedback": True}, "3.77"),
        ({"name": "qsgd", "levels": 127, "bucket": 128, "error_feedback": True}, None),
        ({"name": "sign", "error_feedback": True}, None),
    ],
)
def test_known_bounds_warn(settings: dict[str, Any], word: str | None) -> None:
    config = {"optimizer": {"name": "agn", "window": 10}, "compression": settings}
    found = optimizers.from_config(config, None).warnings(4, 10)  # type: ignore[arg-type]
    assert ([word in warning for warning in found] == [True]) if word else not found


@pytest.mark.parametrize(
    ("rule", "feedback", "warned"),
    [
        ({"name": "ringmaster", "threshold": None}, True, True),
        ({"name": "rennala", "batch": None}, True, True),
        ({"name": "backup", "backups": 1}, True, True),
        ({"name": "backup", "backups": 0}, True, False),  # nobody is ever late
        ({"name": "ringmaster", "threshold": None}, False, False),
        ({"name": "agn"}, True, False),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else str(value),
)
def test_error_feedback_with_dropped_commits_warns(rule: dict[str, Any], feedback: bool, warned: bool) -> None:
    compression = {"name": "int8", "error_feedback": feedback}
    config = {"optimizer": {**rule, "window": 1}, "compression": compression, "workers": 4}
    found = optimizers.from_config(config, optax.sgd(0.1)).warnings(4, 1)
    assert sum("drops late commits" in warning for warning in found) == warned


def test_what_a_dropped_commit_left_out_is_sent_by_the_next_one() -> None:
    """What the warning says: of 5 and 1 top-1 sends 5, which is dropped, and then 1, though there is nothing new."""
    top = apply(ringmaster(threshold=1, workers=2), {"name": "topk", "share": 1.0, "count": 1, "error_feedback": True})
    start = jnp.zeros(2)
    it, states = Server(top, start, 2), [top.worker.init(start) for _ in range(2)]
    for worker, sequence, end in ((0, 1, [2, 0]), (1, 1, [5, 1]), (1, 2, [0, 0])):
        window = Window(start, array(*end), jnp.int32(1), key=jax.random.key(0))
        code, states[worker] = top.worker.commit(window, states[worker])
        it.deliver(delivery(worker, sequence, 0)._replace(message=code))
    assert it.center.tolist() == [2, 1]


def test_error_feedback_lets_top_1_find_the_minimum() -> None:
    method = apply(agn(), {"name": "topk", "share": 1.0, "count": 1, "error_feedback": True})
    plain = experiment("agn", window=3, workers=3)
    center = train(plain._replace(optimizer=method), UNEVEN * 20).center["x"]
    np.testing.assert_allclose(center, array(1, 3), atol=0.1)


@pytest.mark.parametrize("settings", [{"name": "qsgd", "levels": 3, "bucket": 128}, {"name": "sign"}])
def test_what_stays_in_the_worker_needs_no_feedback_and_gives_no_warning(settings: dict[str, Any]) -> None:
    pulling = aeasgd(rho=5, elastic_learning_rate=0.01, atomic=False)
    assert apply(pulling, settings | {"error_feedback": False}).warnings(4, 10) == []
