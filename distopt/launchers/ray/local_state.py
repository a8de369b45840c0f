"""The local state of a worker at its last commit: it outlives the process, so the worker can start from it again."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from distopt.launchers.ray.shared_memory import Wire
from distopt.runs.checkpoints import wanted
from distopt.training.experiment import Experiment
from distopt.training.worker import Kept


def layout(experiment: Experiment) -> Kept | tuple[()]:
    """Return the shapes of what is kept of a worker; () if no worker would continue with it."""
    config = experiment.config
    if config["launcher"]["on_worker_loss"] == "fail" and not (wanted(config) or config["resume"]):
        return ()

    def initial() -> Kept:
        params, model = experiment.model.init(jax.random.key(0))
        return Kept(experiment.local.init(params), model, experiment.optimizer.worker.init(params))

    return jax.eval_shape(initial)


class Keepsakes:
    """Local states of workers at their last commits, as flat buffers.

    Two are kept of each worker, because its last commit may never be applied.
    """

    def __init__(self, like: Kept | tuple[()], workers: int) -> None:
        self._like = like
        self._wire = Wire(like)
        self._held: list[dict[int, np.ndarray]] = [{} for _ in range(workers)]

    def put(self, worker: int, sequence: int, buffer: np.ndarray) -> None:
        """Keep what came with a worker's commit number `sequence`."""
        held = self._held[worker] | {sequence: buffer}
        self._held[worker] = {number: held[number] for number in sorted(held)[-2:]}

    def drop(self, worker: int) -> None:
        """Drop what is kept of a worker that starts over with fresh local state."""
        self._held[worker] = {}

    def get(self, worker: int, sequence: int) -> np.ndarray | None:
        """Return what came with a worker's commit number `sequence`, if it was kept."""
        return self._held[worker].get(sequence) if self._wire.payload_bytes else None

    def save(self, applied: Sequence[int]) -> dict[str, Kept]:
        """Return by worker, as trees, what came with the commits whose sequence numbers are `applied`."""
        found = {str(worker): self.get(worker, sequence) for worker, sequence in enumerate(applied)}
        return {worker: self._wire.read(buffer) for worker, buffer in found.items() if buffer is not None}

    def like(self, workers: Sequence[str]) -> dict[str, Any]:
        """Return the shapes of what `save` returned."""
        return dict.fromkeys(workers, self._like)

    def load(self, kept: Mapping[str, Kept], applied: Sequence[int]) -> None:
        """Restore what `save` returned."""
        for worker, tree in kept.items():
            self.put(int(worker), applied[int(worker)], self._wire.pack(tree))
