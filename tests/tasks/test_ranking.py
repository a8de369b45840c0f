"""Ranking: measured as by sorting in NumPy, negatives that a user does not have, preferences that are learnt."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import distopt
from distopt import models
from distopt.datasets.dataset import Dataset, Samples
from distopt.tasks import ranking
from distopt.training.evaluation import Evaluator
from tests.datasets.test_own import load
from tests.launchers.test_replay import center
from tests.small import experiment

RNG = np.random.default_rng(0)
USERS, ITEMS = 60, 80
MEASURE, NEGATIVES = jax.jit(ranking.measure), jax.jit(ranking.negatives, static_argnums=1)


def batch(users: int, items: int, most: int, left_out: int) -> Samples:
    """Users with 1 .. `most` items, and 0 .. `left_out` to leave out; none has all."""
    liked, seen = (np.full((users, width), items, np.int32) for width in (most, left_out))
    for user in range(users):
        order = RNG.permutation(items)
        count, other = RNG.integers(1, most + 1), RNG.integers(0, left_out + 1)
        liked[user, :count], seen[user, :other] = order[:count], order[count : count + other]
    return np.arange(users, dtype=np.int32), liked, seen


def by_sorting(scores: np.ndarray, liked: np.ndarray, seen: np.ndarray) -> tuple[float, float]:
    """NDCG@10 and hit@10 of one user, who ranks all items but those seen; of equal scores the lower number is first."""
    items = len(scores)
    left = sorted(set(range(items)) - set(seen.tolist()), key=lambda item: (-scores[item], item))
    mine = set(liked.tolist()) - {items}
    gained = [1 / np.log2(rank + 1) for rank, item in enumerate(left[:10], start=1) if item in mine]
    ideal = [1 / np.log2(rank + 1) for rank in range(1, min(10, len(mine)) + 1)]
    return sum(gained) / sum(ideal), float(bool(gained))


@pytest.mark.parametrize(("items", "most", "left_out"), [(40, 25, 10), (12, 4, 7), (7, 3, 0)], ids=str)
def test_ranks_are_measured_as_by_sorting(items: int, most: int, left_out: int) -> None:
    """Half of the users have scores of four values alone, so that most are ties."""
    rows = batch(50, items, most, left_out)
    levels = np.where(np.arange(50) % 2, 4, 10_000)[:, None]
    scores = (RNG.integers(levels, size=(50, items)) / levels).astype(np.float32)
    drawn = NEGATIVES(rows, items, jax.random.key(1))
    sums = MEASURE((jnp.asarray(scores), drawn), rows)
    ndcg, hit = np.mean([by_sorting(*each) for each in zip(scores, rows[1], rows[2], strict=True)], axis=0)
    assert 0 < ndcg < 1
    assert float(sums["ndcg_at_10"][0] / sums["ndcg_at_10"][1]) == pytest.approx(ndcg, rel=1e-5)
    assert float(sums["hit_at_10"][0] / sums["hit_at_10"][1]) == pytest.approx(hit, rel=1e-5)
    losses = [
        np.log1p(np.exp(float(scores[user, other] - scores[user, item])))
        for user in range(50)
        for item, other in zip(rows[1][user], np.asarray(drawn)[user], strict=True)
        if item < items
    ]
    assert float(sums["loss"][0]) == pytest.approx(sum(losses), rel=1e-5)
    assert float(sums["loss"][1]) == len(losses)


def test_the_best_scores_have_the_best_metrics() -> None:
    _, liked, _ = rows = batch(20, 30, 14, 8)
    scores = np.zeros((20, 31), np.float32)
    np.put_along_axis(scores, liked, 1, axis=1)
    sums = MEASURE((jnp.asarray(scores[:, :30]), NEGATIVES(rows, 30, None)), rows)
    assert float(sums["ndcg_at_10"][0]) == pytest.approx(20, rel=1e-6)
    assert float(sums["hit_at_10"][0]) == 20


def test_negatives_are_items_that_the_user_lacks_all_alike() -> None:
    user, liked, seen = batch(4, 9, 4, 3)
    free = [set(range(9)) - set(liked[i].tolist()) - set(seen[i].tolist()) for i in range(4)]
    draw = jax.jit(jax.vmap(lambda key: ranking.negatives((user, liked, seen), 9, key)))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 3000)))
    assert drawn.shape == (3000, 4, 4)
    for i in range(4):
        assert set(np.unique(drawn[:, i]).tolist()) == free[i]
        shares = np.bincount(drawn[:, i].ravel(), minlength=9)[sorted(free[i])] / drawn[:, i].size
        # Five standard errors of the share of 12,000 draws are at most 0.023.
        np.testing.assert_allclose(shares, 1 / len(free[i]), atol=0.023)


@pytest.mark.slow
def test_evaluation_is_the_same_however_it_is_cut() -> None:
    rows = batch(20, 30, 6, 4)
    data = Dataset("some", rows, batch(11, 30, 9, 3), (20, 30), 1, kind="ranking")
    task = models.build({"name": "factorisation", "rank": 3}, data.shape, 1, "ranking")
    params, state = task.init(jax.random.key(0))
    it = experiment("agn")._replace(dataset=data)
    whole, cut = (
        Evaluator(it._replace(model=task._replace(at_once=size)), state)(params, update=0, time_s=0.0, samples=0)
        for size in (100, 7)
    )
    for one, other in zip(whole, cut, strict=True):
        assert [other[metric.name] for metric in ranking.METRICS] == pytest.approx(
            [one[metric.name] for metric in ranking.METRICS], rel=1e-6
        )


def test_few_users_are_evaluated_at_once_where_there_are_many_items() -> None:
    few, many = (models.build({"name": "factorisation", "rank": 1}, (5, n), 1, "ranking") for n in (50, 10**6))
    assert few.at_once == 2000
    assert many.at_once == 17


def test_an_ensemble_ranks_by_the_mean_of_its_scores() -> None:
    scores, drawn = jnp.array([[[1.0, 2.0]], [[5.0, 0.0]]]), jnp.array([[[1]], [[1]]])
    mean, negatives = ranking.mean_scores((scores, drawn))
    np.testing.assert_array_equal(mean, [[3.0, 1.0]])
    np.testing.assert_array_equal(negatives, [[1]])


def preferences(file: Path) -> list[str]:
    """Write each user's best items by a product of two factors and a little chance; return the settings."""
    p, q = RNG.normal(size=(USERS, 2)), RNG.normal(size=(ITEMS, 2))
    scores = p @ q.T + 0.2 * RNG.normal(size=(USERS, ITEMS))
    best = [(user, item) for user in range(USERS) for item in np.argsort(-scores[user])[: RNG.integers(8, 20)]]
    pd.DataFrame(best, columns=["user", "item"]).sample(frac=1, random_state=0).to_csv(file, index=False)
    return ["dataset=ratings", f"dataset.file={file}", "dataset.kind=ranking", "model=factorisation", "model.rank=3"]


def of_all(data: Dataset, scores: Any) -> float:
    """NDCG@10 on the validation part where every user has the same scores."""
    rows = data.validation
    everyone = jnp.broadcast_to(jnp.asarray(scores, jnp.float32), (len(rows[0]), data.shape[1]))
    total, users = MEASURE((everyone, NEGATIVES(rows, data.shape[1], None)), rows)["ndcg_at_10"]
    return float(total / users)


def test_preferences_are_learnt_better_than_popularity_and_repeated(tmp_path: Path) -> None:
    settings = preferences(tmp_path / "t.csv")
    rules = ["optimizer=downpour", "optimizer.window=1", "workers=2", "local=adam", "local.learning_rate=0.02"]
    more = ["batch_size=10", "epochs=60", "evaluate.points=2", f"output={tmp_path / 'runs'}"]
    run = distopt.run(["launcher=sim", *settings, *rules, *more])
    assert [metric.name for metric in run.metrics] == ["ndcg_at_10", "hit_at_10", "loss"]
    first, last = (run.evals[run.evals["split"] == "validation"].iloc[i] for i in (0, -1))
    data = load("ratings", file=str(tmp_path / "t.csv"), kind="ranking")
    popular = of_all(data, np.bincount(data.train[1].ravel(), minlength=data.shape[1] + 1)[:-1])
    assert first["ndcg_at_10"] < 0.2
    assert last["ndcg_at_10"] > max(2 * popular, 3 * first["ndcg_at_10"])
    assert last["loss"] < first["loss"] == pytest.approx(np.log(2), abs=0.01)
    again = distopt.run(["launcher=replay", f"launcher.trace={run.folder}", *settings, *rules, *more])
    assert center(again) == center(run)
    pd.testing.assert_series_equal(again.evals["ndcg_at_10"], run.evals["ndcg_at_10"])
