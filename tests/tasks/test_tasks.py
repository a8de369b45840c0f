"""What tasks measure: sums and weights, against NumPy."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt.datasets.blocks import Blocks, Weights
from distopt.datasets.dataset import Dataset, classified
from distopt.records import LOSS, Metric
from distopt.tasks import Task, classes, numbers, tokens
from distopt.tasks.smoothing import smoothed
from distopt.training.batches import Itinerary
from distopt.training.evaluation import Evaluator, reached
from distopt.training.experiment import Goal
from distopt.training.worker_programs import Replica
from tests.small import BOOTH, SGD, experiment

RNG = np.random.default_rng(0)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_classes_are_measured_as_by_numpy() -> None:
    logits, y = RNG.normal(size=(7, 5)), RNG.integers(5, size=7)
    sums = classes.measure(jnp.array(logits, jnp.float32), (None, jnp.array(y)))
    assert sums["loss"][1] == sums["accuracy"][1] == 7
    assert float(sums["loss"][0]) == pytest.approx(-log_softmax(logits)[np.arange(7), y].sum(), rel=1e-5)
    assert int(sums["accuracy"][0]) == (logits.argmax(axis=1) == y).sum()


def test_tokens_are_measured_as_by_numpy() -> None:
    logits, blocks = RNG.normal(size=(3, 4, 9)), RNG.integers(9, size=(3, 5), dtype=np.uint8)
    sums = tokens.measure(jnp.array(logits, jnp.float32), (jnp.array(blocks),))
    nll = -np.take_along_axis(log_softmax(logits), blocks[:, 1:, None].astype(int), axis=2).sum()
    assert float(sums["loss"][0]) == pytest.approx(nll, rel=1e-5)
    assert float(sums["loss"][1]) == 12
    for xp in (np, jnp):
        told = tokens.finish(sums, xp)
        assert {metric.name for metric in (*tokens.METRICS, tokens.PER_TOKEN)} == set(told)
        assert float(told["bits_per_byte"]) == pytest.approx(nll / 12 / math.log(2), rel=1e-5)
        assert float(told["perplexity"]) == pytest.approx(math.exp(nll / 12), rel=1e-5)


def test_predictions_of_documents_count_by_their_weights() -> None:
    logits, blocks = RNG.normal(size=(3, 4, 9)), RNG.integers(9, size=(3, 5), dtype=np.uint8)
    weights = np.array([[1, 0, 1, 1], [1, 1, 1, 1], [0, 1, 0, 1]], np.uint8)
    sums = tokens.measure(jnp.array(logits, jnp.float32), (jnp.array(blocks), jnp.array(weights)))
    nll = -np.take_along_axis(log_softmax(logits), blocks[:, 1:, None].astype(int), axis=2)[..., 0]
    assert float(sums["loss"][0]) == pytest.approx(nll[weights == 1].sum(), rel=1e-5)
    assert float(sums["loss"][1]) == 9


@pytest.mark.parametrize("at_once", [1, 4, 10])
def test_evaluation_of_documents_is_the_same_however_it_is_cut(at_once: int) -> None:
    """The short last chunk, and chunks in which little counts, have the weight of what counts in them."""
    text = np.frombuffer(b"the owl\0and\0the pussycat\0went to\0sea in a beautiful pea-green boat\0.", np.uint8)
    blocks, weights = Blocks(text, 6)[:], Weights(text, 6)[:]
    assert len(blocks) == 11
    assert weights.sum() == 66 - 4
    data = Dataset("some", (blocks, weights), (blocks, weights), (6,), 256, kind="tokens")
    table = RNG.normal(size=(256, 256)).astype(np.float32)

    def forward(params: Any, state: Any, batch: Any, key: Any) -> tuple[Any, Any]:
        return jnp.asarray(table)[batch[0][:, :-1].astype(int)] * params["x"][0], state

    it = experiment("agn")
    task = Task(it.model.init, forward, tokens.measure, tokens.METRICS, tokens.finish, tokens.SUMS, at_once=at_once)
    rows = Evaluator(it._replace(model=task, dataset=data), {})(
        {"x": jnp.array([2.0, 0.0])}, update=1, time_s=0.0, samples=0
    )
    logits = log_softmax(2 * table.astype(np.float64))
    nll = -logits[blocks[:, :-1], blocks[:, 1:]][weights == 1].mean()
    for row in rows:
        assert row["loss"] == pytest.approx(nll, rel=1e-5)
        assert row["bits_per_byte"] == pytest.approx(nll / math.log(2), rel=1e-5)


def test_numbers_are_measured_as_by_numpy() -> None:
    f, y = RNG.normal(size=(9, 1)), RNG.normal(2, 3, size=9)
    sums = numbers.measure(jnp.array(f, jnp.float32), (None, jnp.array(y, jnp.float32)))
    error = y - f[:, 0]
    expected = [np.sqrt((error**2).mean()), 1 - (error**2).mean() / y.var(), abs(error).mean(), (error**2).mean() / 2]
    for xp in (np, jnp):
        told = numbers.finish(sums, xp)
        assert list(told) == [metric.name for metric in numbers.METRICS]
        np.testing.assert_allclose([float(value) for value in told.values()], expected, rtol=1e-4)
    same = numbers.finish({name: (np.float64(2), np.float64(2)) for name in numbers.SUMS}, np)
    assert np.isnan(same["r2"])


@pytest.mark.parametrize("at_once", [1, 4, 7, 100])
def test_evaluation_is_the_same_however_it_is_cut(at_once: int) -> None:
    """A mean of the chunks' means would count the samples of a short last chunk more than others."""
    it = experiment("agn")
    x, y = RNG.normal(size=(10, 3)).astype(np.float32), RNG.integers(2, size=10).astype(np.int32)
    data = classified("some", (x, y), (x, y), 2)

    def forward(params: Any, state: Any, batch: Any, key: Any) -> tuple[Any, Any]:
        return batch[0][:, :2] * params["x"][0], state

    task = Task(it.model.init, forward, classes.measure, classes.METRICS, at_once=at_once)
    rows = Evaluator(it._replace(model=task, dataset=data), {})(
        {"x": jnp.array([2.0, 0.0])}, update=1, time_s=0.0, samples=0
    )
    logits = x[:, :2] * 2
    assert [row["split"] for row in rows] == ["train", "validation"]
    for row in rows:
        assert row["loss"] == pytest.approx(-log_softmax(logits)[np.arange(10), y].mean(), rel=1e-6)
        assert row["accuracy"] == (logits.argmax(axis=1) == y).mean()


@pytest.mark.parametrize(
    ("better", "value", "ends"),
    [("lower", 0.5, True), ("lower", 0.7, False), ("higher", 0.7, True), ("higher", 0.5, False)],
)
def test_a_goal_is_reached_from_its_own_side(better: Any, value: float, ends: bool) -> None:
    goal = Goal(Metric("score", better, format=".2f"), 0.6, "stop.target")
    said = reached([goal], [{"split": "train", "score": 9.0}, {"split": "validation", "score": value}])
    assert said == (f"stop.target=0.6 reached: validation score {value:.2f}" if ends else None)


def test_an_ensemble_of_texts_has_the_mean_of_probabilities() -> None:
    logits = jnp.array(RNG.normal(size=(3, 2, 4, 9)), jnp.float32)  # of three members
    combined = dict(tokens.COMBINE)[""](logits)
    expected = np.exp(log_softmax(np.asarray(logits, np.float64))).mean(axis=0)
    np.testing.assert_allclose(jax.nn.softmax(combined), expected, rtol=1e-5)


def test_objective_and_penalty_are_minimized_and_the_loss_is_measured() -> None:
    def measure(outputs: Any, batch: Any) -> Any:
        return {"loss": (outputs, jnp.float32(2)), "goal": (3 * outputs, jnp.float32(2)), "rest": (outputs, outputs)}

    it = experiment("agn", local=SGD | {"learning_rate": 0.5}, on_bad_commit="stop")
    task = Task(
        it.model.init, lambda params, state, batch, key: (jnp.sum(params["x"]), state), measure, (LOSS,),
        sums=("loss", "goal", "rest"), objective="goal", penalty=lambda params: jnp.sum(params["x"] ** 2),
    )  # fmt: skip
    replica = Replica(it._replace(model=task))
    flight = replica.fly(replica.begin(), Itinerary(it, 0).next())
    x = np.array(BOOTH["start"])
    np.testing.assert_allclose(flight.window.end["x"], x - 0.5 * (1.5 + 2 * x))
    assert {name: float(value) for name, value in flight.measured.items()} == {"loss": x.sum() / 2}
    row = Evaluator(it._replace(model=task), {})({"x": jnp.array(x)}, update=0, time_s=0, samples=0)[0]
    assert (row["loss"], row["penalty"]) == pytest.approx((x.sum() / 2, (x**2).sum()))
    assert "goal" not in row


@pytest.mark.parametrize("kind", ["classes", "tokens", "documents"])
def test_smoothed_labels_are_minimized_and_measured_as_before(kind: str) -> None:
    if kind == "classes":
        logits, batch = RNG.normal(size=(7, 5)), (None, jnp.array(RNG.integers(5, size=7)))
        labels, counted = np.asarray(batch[1]), np.ones(7)
        plain = Task(None, None, classes.measure, classes.METRICS)  # type: ignore[arg-type]
    else:
        logits, blocks = RNG.normal(size=(3, 4, 5)), jnp.array(RNG.integers(5, size=(3, 5)))
        labels = np.asarray(blocks)[:, 1:]
        counted = RNG.integers(2, size=(3, 4)) if kind == "documents" else np.ones((3, 4))
        batch = (blocks, jnp.array(counted, jnp.uint8)) if kind == "documents" else (blocks,)
        plain = Task(None, None, tokens.measure, tokens.METRICS, sums=tokens.SUMS)  # type: ignore[arg-type]
    task = smoothed(plain, 0.2)
    sums = task.measure(jnp.array(logits, jnp.float32), batch)
    target = np.full(logits.shape, 0.2 / 5) + 0.8 * np.eye(5)[labels]
    expected = -((target * log_softmax(logits)).sum(axis=-1) * counted).sum()
    total, weight = sums[task.objective]
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert float(weight) == counted.sum()
    assert set(task.no_sums()) == set(sums) == {*plain.no_sums(), task.objective}
    assert {name: sums[name] for name in plain.no_sums()} == plain.measure(jnp.array(logits, jnp.float32), batch)


def constant(params: Any, state: Any, batch: Any, key: Any) -> tuple[Any, Any]:
    """Logits of the next token that do not depend on the text."""
    return jnp.broadcast_to(params["logits"], (*batch[0][:, 1:].shape, *params["logits"].shape)), state


def test_a_model_that_knows_one_letter_writes_it() -> None:
    params = {"logits": jnp.zeros(256).at[ord("x")].set(50.0)}
    assert tokens.write(constant, 8, params, {}, jax.random.key(0)) == "x" * tokens.WRITTEN


def test_a_model_of_other_tokens_than_bytes_writes_nothing() -> None:
    assert tokens.write(constant, 8, {"logits": jnp.zeros(300)}, {}, jax.random.key(0)) is None
