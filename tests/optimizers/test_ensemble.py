"""Ensemble training: members that never hear of each other, evaluated by their common prediction."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt.optimizers.ensemble import ensemble
from distopt.rules import Commits
from distopt.testing import Trained, train
from distopt.training.evaluation import Evaluator
from distopt.training.worker_programs import Replica
from tests.optimizers.tools import array, equal
from tests.small import ADAM, UNEVEN, blobs, experiment

LOGISTIC = {"model": {"name": "logistic"}, "data": blobs(), "batch_size": 4, "window": 2}
ROUNDS = [0, 1, 2] * 4


@cache
def trained(optimizer: str, workers: int) -> Trained:
    return train(experiment(optimizer, workers=workers, local=ADAM, **LOGISTIC), [*range(workers)] * 4)


def test_one_member_is_sequential_training() -> None:
    alone, sequential = trained("ensemble", 1), trained("sequential", 1)
    for name, leaf in sequential.center.items():
        np.testing.assert_allclose(alone.center[name], leaf[None], rtol=1e-6)
    for one, other in zip(alone.evals, sequential.evals, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["best_member_loss"] == pytest.approx(one["mean_logits_loss"], rel=1e-5)
        assert one["accuracy"] == one["mean_logits_accuracy"] == one["best_member_accuracy"] == other["accuracy"]


def test_members_with_the_same_data_and_noise_are_identical() -> None:
    """An exact function is the same data for all, whatever the order of the commits."""
    members = train(experiment("ensemble", workers=3, window=2), [2, 0, 1, 1, 2, 0]).center["x"]
    assert members.shape == (3, 2)
    assert (members == members[0]).all()


def test_members_are_the_workers_of_an_elastic_method_without_elasticity() -> None:
    free = {"rho": 0.0, "elastic_learning_rate": 0.1}
    noisy = {"name": "booth", "start": [-2.0, 3.0], "noise": 1.0}
    elastic = train(experiment("easgd", workers=3, model=noisy, settings=free), ROUNDS)
    apart = train(experiment("ensemble", workers=3, model=noisy), ROUNDS)
    ends = [[row["end_x0"], row["end_x1"]] for row in elastic.commits[-3:]]
    np.testing.assert_array_equal(apart.center["x"], np.array(ends, np.float32))
    assert {(row["bytes_up"], row["bytes_down"]) for row in apart.commits} == {(8, 0)}


def test_a_function_has_no_probabilities_the_best_member_counts() -> None:
    last = train(experiment("ensemble", workers=3), UNEVEN).evals[-1]
    assert (
        last["loss"]
        == last["best_member_loss"]
        == pytest.approx((last["x0"] + 2 * last["x1"] - 7) ** 2 + (2 * last["x0"] + last["x1"] - 5) ** 2, rel=1e-4)
    )


def test_the_ensemble_predicts_the_mean_of_probabilities() -> None:
    built = experiment("ensemble", workers=3, **LOGISTIC)
    data, replica = blobs(), Replica(built)
    rng = np.random.default_rng(1)
    members = jax.tree.map(lambda p: jnp.asarray(rng.normal(size=(3, *p.shape)), jnp.float32), replica.params)
    row = Evaluator(built, replica.model_state)(members, update=0, time_s=0.0, samples=0)[-1]

    layer = {name: np.asarray(leaf, np.float64) for name, leaf in members["Dense_0"].items()}
    logits = data.validation[0] @ layer["kernel"] + layer["bias"][:, None]  # (member, example, class)
    y, examples = data.validation[1], np.arange(data.size)

    def measures(z: np.ndarray) -> tuple[float, float]:
        p = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
        p = p.mean(axis=0) if z.ndim == 3 else p
        return -np.log(p[examples, y]).mean(), (p.argmax(axis=-1) == y).mean()

    each = np.array([measures(member) for member in logits])
    equal([row["loss"], row["accuracy"]], *measures(logits))
    equal([row["mean_logits_loss"], row["mean_logits_accuracy"]], *measures(logits.mean(axis=0)))
    equal([row["best_member_loss"], row["best_member_accuracy"]], each[:, 0].min(), each[:, 1].max())
    assert len(set(each[:, 1])) > 1


def test_a_member_that_is_not_finite_is_not_kept() -> None:
    rule = ensemble().server
    center = array(1, 2)
    commits = Commits(jnp.array([0, 2]), jnp.zeros(2, jnp.int32), array([3, jnp.nan], [5, 6]), jnp.stack([center] * 2))
    update = rule.update(commits, rule.init(center, 3), center)
    equal(update.state, [1, 2], [1, 2], [5, 6])
    equal(update.center, 1, 2)
