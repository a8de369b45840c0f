"""Shards: who holds which samples."""

from itertools import pairwise

import numpy as np
import pytest

from distopt.datasets.partition import SCHEMES, partition
from distopt.errors import DataError

LABELS = np.random.default_rng(7).integers(0, 10, size=1003).astype(np.int32)
DISJOINT = [scheme for scheme in SCHEMES if scheme != "shared"]


@pytest.mark.parametrize("scheme", DISJOINT)
@pytest.mark.parametrize("workers", [1, 4, 100, 1003])
def test_every_sample_has_exactly_one_owner(scheme: str, workers: int) -> None:
    shards = partition(len(LABELS), LABELS, workers, scheme, alpha=0.1, seed=0)
    assert len(shards) == workers
    assert min(map(len, shards)) > 0
    assert all(shard.dtype == np.int32 for shard in shards)
    assert np.array_equal(np.sort(np.concatenate(shards)), np.arange(len(LABELS)))


def test_stretches_are_in_order() -> None:
    shards = partition(10, None, 3, "contiguous", alpha=1.0, seed=0)
    assert [shard.tolist() for shard in shards] == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]
    with pytest.raises(DataError, match="the data have no labels"):
        partition(10, None, 3, "label", alpha=1.0, seed=0)


@pytest.mark.parametrize("scheme", ["iid", "label"])
def test_equal_parts(scheme: str) -> None:
    sizes = [len(shard) for shard in partition(len(LABELS), LABELS, 16, scheme, alpha=1.0, seed=0)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("scheme", [scheme for scheme in DISJOINT if scheme != "contiguous"])
def test_seed_decides(scheme: str) -> None:
    first, again, other = (partition(len(LABELS), LABELS, 8, scheme, alpha=1.0, seed=seed) for seed in (0, 0, 1))
    assert all(map(np.array_equal, first, again))
    assert not all(map(np.array_equal, first, other))


def test_sorted_by_label() -> None:
    labels = [LABELS[shard] for shard in partition(len(LABELS), LABELS, 20, "label", alpha=1.0, seed=0)]
    assert all(len(np.unique(part)) <= 2 for part in labels)
    assert all(before.max() <= after.min() for before, after in pairwise(labels))


def test_alpha_decides_how_much_the_workers_differ() -> None:
    def unevenness(alpha: float) -> float:
        shards = partition(len(LABELS), LABELS, 8, "dirichlet", alpha, seed=0)
        return float(np.std([np.bincount(LABELS[shard], minlength=10) for shard in shards]))

    even = np.std(
        [np.bincount(LABELS[shard], minlength=10) for shard in partition(len(LABELS), LABELS, 8, "iid", 1.0, 0)]
    )
    assert unevenness(0.1) > unevenness(1.0) > unevenness(10.0)
    assert unevenness(1e6) < even


@pytest.mark.parametrize("alpha", [1e-6, 1e-3])
def test_extreme_alpha_leaves_no_shard_empty(alpha: float) -> None:
    shards = partition(len(LABELS), LABELS, 300, "dirichlet", alpha, seed=3)
    assert min(map(len, shards)) == 1
    assert np.array_equal(np.sort(np.concatenate(shards)), np.arange(len(LABELS)))


def test_shared_gives_everyone_everything_once_in_memory() -> None:
    shards = partition(len(LABELS), LABELS, 2000, "shared", alpha=1.0, seed=0)
    assert np.array_equal(shards[-1], np.arange(len(LABELS)))
    assert shards[0] is shards[-1]


@pytest.mark.parametrize("scheme", DISJOINT)
def test_more_shards_than_samples(scheme: str) -> None:
    with pytest.raises(DataError, match=r"workers=1004: more shards than the 1003 training samples.*shared"):
        partition(len(LABELS), LABELS, 1004, scheme, alpha=1.0, seed=0)


def test_unknown_scheme() -> None:
    with pytest.raises(DataError, match=r"dataset\.partition=odd: unknown.*iid"):
        partition(len(LABELS), LABELS, 2, "odd", alpha=1.0, seed=0)
