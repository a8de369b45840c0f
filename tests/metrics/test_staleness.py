import numpy as np
import pandas as pd
import pytest

from distopt.metrics import staleness
from scripts.tools import folders


def test_histogram_is_normalised_and_starts_at_zero():
    values, shares = staleness.histogram(pd.DataFrame({"staleness": [3, 1, 1, 3]}))
    assert values.tolist() == [0, 1, 2, 3]
    assert shares.tolist() == [0, 0.5, 0, 0.5]
    assert staleness.histogram(folders.commits(updates=0))[1].size == 0


def test_describe_against_numpy():
    numbers = staleness.describe(pd.Series([0, 1, 2, 3, 10]))
    assert numbers["mean"] == 3.2
    assert numbers["var"] == pytest.approx(np.var([0, 1, 2, 3, 10]))
    assert numbers["std"] ** 2 == pytest.approx(numbers["var"])
    assert (numbers["q95"], numbers["max"]) == (pytest.approx(8.6), 10)
    assert np.isnan(list(staleness.describe(pd.Series(dtype=float)).values())).all()


def test_by_worker():
    table = staleness.by_worker(pd.DataFrame({"worker": [1, 0, 1, 1], "staleness": [0, 5, 1, 2]}))
    assert table["share"].tolist() == [0.25, 0.75]
    assert table["mean"].tolist() == [5, 1]


@pytest.mark.parametrize(("workers", "updates"), [(1, 7), (4, 200), (30, 10), (4, 0)])
def test_no_order_contradicts_itself(workers, updates):
    assert staleness.contradictions(folders.commits(workers, updates, seed=3)) == 0


def test_lost_and_repeated_commits_and_wrong_counts_are_noticed():
    commits = folders.commits(4, 100)
    lost = commits.drop(index=50).assign(update=range(1, 100))
    repeated = pd.concat([commits, commits.iloc[[50]]])
    wrong = commits.assign(staleness=commits["staleness"] + (commits["update"] == 7))
    assert all(staleness.contradictions(frame) for frame in (lost, repeated, wrong))


def test_staleness_that_the_order_contradicts_is_counted() -> None:
    commits = pd.DataFrame({"update": [1, 2, 3, 4], "worker": [0, 1, 0, 1], "staleness": [0, 1, 1, 1]})
    assert staleness.contradictions(commits) == 0
    lost = commits.assign(update=[1, 2, 4, 5])  # update 3 was applied but not recorded
    assert staleness.contradictions(lost) == 2
    pulled_again = commits.assign(staleness=[0, 1, 1, 0])
    assert staleness.contradictions(pulled_again) == 1
    assert staleness.contradictions(pulled_again, pulls=True) == 0
    events = pd.DataFrame({"update": [3, 1], "worker": [1, 0], "kind": ["returned", "lost"], "sequence": 1})
    assert staleness.contradictions(pulled_again, events) == 0
    assert staleness.contradictions(commits, events) == 1
    barrier = pd.DataFrame({"update": [1, 1, 2, 2], "worker": [0, 1, 0, 1], "staleness": [0, 0, 0, 0]})
    assert staleness.contradictions(barrier) == 0
    rarely = commits.assign(staleness=[0, 1, 2, 2])  # the second commits are the first that are answered
    assert [staleness.contradictions(rarely, fetch=fetch) for fetch in (1, 2)] == [2, 1]
