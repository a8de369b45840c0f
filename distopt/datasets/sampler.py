"""Which samples a worker takes at which step."""

import math

import numpy as np

# Separates these random numbers from all others of the same seed.
STREAM = 2
# Several short epochs are shuffled together: making a random generator costs as much as shuffling 1000 samples.
BLOCK = 1024


def steps_for(shard_size: int, epochs: float, batch_size: int) -> int:
    """Return the steps for at least `epochs` passes over a shard: ceil(epochs * shard_size / batch_size)."""
    return math.ceil(round(epochs * shard_size / batch_size, 9))


class Sampler:
    """A worker's endless stream of batches, a pure function of (seed, worker, step).

    The shard is reshuffled for each of the worker's epochs, and the permutations are laid end to end. The batch of step
    s is elements [s * batch_size, (s + 1) * batch_size) of that stream. Every epoch takes each sample exactly once.
    Batches are always full: they reach across the border of two epochs instead of being cut short.
    """

    def __init__(self, shard: np.ndarray, batch_size: int, seed: int, worker: int) -> None:
        self._shard = np.asarray(shard, dtype=np.int32)
        self._batch_size = batch_size
        self._key = (STREAM, seed, worker)
        self._epochs = math.ceil(BLOCK / len(shard))
        self._number = -1
        self._block = self._shard

    def batches(self, first_step: int, count: int) -> np.ndarray:
        """Return sample indices of steps first_step .. first_step + count - 1, int32 of shape (count, batch_size)."""
        size = len(self._shard) * self._epochs
        batches = np.empty(count * self._batch_size, dtype=np.int32)
        filled = 0
        while filled < len(batches):
            number, offset = divmod(first_step * self._batch_size + filled, size)
            part = self._shuffled(number)[offset : offset + len(batches) - filled]
            batches[filled : filled + len(part)] = part
            filled += len(part)
        return batches.reshape(count, self._batch_size)

    def _shuffled(self, number: int) -> np.ndarray:
        """Return block `number` of the stream, a few epochs end to end; the last block is cached."""
        if number != self._number:
            rng = np.random.default_rng([*self._key, number])
            epochs = np.tile(self._shard, (self._epochs, 1))
            self._block = rng.permuted(epochs, axis=1, out=epochs).ravel()
            self._number = number
        return self._block
