"""What the commits of every run have in common, whichever launcher wrote them."""

import numpy as np
import pandas as pd


def assert_complete(commits: pd.DataFrame, workers: int) -> None:
    """Check that every commit was applied exactly once, in each worker's order, as serial updates."""
    for worker, rows in commits.groupby("worker"):
        assert 0 <= int(str(worker)) < workers
        assert rows["sequence"].tolist() == list(range(1, len(rows) + 1))
    updates = commits["update"]
    assert updates.is_monotonic_increasing
    assert sorted(updates.unique()) == list(range(1, updates.max() + 1))
    assert commits["time_s"].is_monotonic_increasing
    assert commits.groupby("update")["worker"].is_monotonic_increasing.all()


def staleness_from_order(commits: pd.DataFrame) -> list[int]:
    """Return the staleness that the order of commits implies: updates applied since each worker's own last one."""
    pulled: dict[int, int] = {}
    expected = []
    for worker, update in zip(commits["worker"], commits["update"], strict=True):
        expected.append(update - 1 - pulled.get(worker, 0))
        pulled[worker] = update
    return expected


def assert_same(a: pd.DataFrame, b: pd.DataFrame, columns: list[str]) -> None:
    """Check that columns of two tables are equal bit by bit."""
    for name in columns:
        np.testing.assert_array_equal(a[name].to_numpy(), b[name].to_numpy(), err_msg=name)
