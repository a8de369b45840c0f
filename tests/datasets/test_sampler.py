"""Batches: every sample once per epoch, a pure function of (seed, worker, step)."""

import pickle

import numpy as np
import pytest

from distopt.datasets.sampler import BLOCK, Sampler, steps_for


def shard_of(size: int) -> np.ndarray:
    return np.arange(100, 100 + size, dtype=np.int32)


@pytest.mark.parametrize(
    ("size", "batch_size"), [(1, 1), (1, 5), (6, 32), (7, 3), (100, 10), (BLOCK, 33), (BLOCK + 1, 32)]
)
def test_every_epoch_takes_every_sample_once(size: int, batch_size: int) -> None:
    steps = steps_for(size, 5, batch_size)
    batches = Sampler(shard_of(size), batch_size, seed=0, worker=0).batches(0, steps)
    assert batches.shape == (steps, batch_size)
    assert batches.dtype == np.int32
    epochs = batches.ravel()[: 5 * size].reshape(5, size)
    assert np.array_equal(np.sort(epochs, axis=1), np.tile(shard_of(size), (5, 1)))


def test_epochs_are_shuffled_anew() -> None:
    epochs = Sampler(shard_of(50), 50, seed=0, worker=0).batches(0, 40)
    assert len({tuple(epoch) for epoch in epochs}) == 40


@pytest.mark.parametrize("size", [6, 100, BLOCK + 7])
def test_batches_depend_on_the_step_and_not_on_earlier_calls(size: int) -> None:
    whole = Sampler(shard_of(size), 16, seed=3, worker=2).batches(0, 200)
    sampler = Sampler(shard_of(size), 16, seed=3, worker=2)
    for first in (150, 0, 199, 64, 65, 0):
        assert np.array_equal(sampler.batches(first, 200 - first), whole[first:])
    assert np.array_equal(np.concatenate([sampler.batches(step, 1) for step in range(200)]), whole)


def test_seed_and_worker_decide() -> None:
    streams = [Sampler(shard_of(40), 8, seed, worker).batches(0, 20) for seed in (0, 1) for worker in (0, 1)]
    assert len({stream.tobytes() for stream in streams}) == 4


def test_results_are_the_callers_own() -> None:
    sampler = Sampler(shard_of(40), 40, seed=0, worker=0)
    before = sampler.batches(0, 1).copy()
    sampler.batches(0, 1)[:] = 0
    assert np.array_equal(sampler.batches(0, 1), before)


def test_pickled_sampler_goes_on_with_the_same_stream() -> None:
    sampler = Sampler(shard_of(40), 8, seed=0, worker=0)
    sampler.batches(0, 3)
    assert np.array_equal(pickle.loads(pickle.dumps(sampler)).batches(3, 9), sampler.batches(3, 9))


@pytest.mark.parametrize(
    ("size", "epochs", "batch_size", "steps"),
    [(100, 1, 10, 10), (101, 1, 10, 11), (10, 0.7, 1, 7), (3, 40, 128, 1), (1438, 2.5, 32, 113)],
)
def test_steps_cover_the_epochs(size: int, epochs: float, batch_size: int, steps: int) -> None:
    assert steps_for(size, epochs, batch_size) == steps
