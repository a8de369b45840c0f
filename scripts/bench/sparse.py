"""Speed of sparse features: logistic regression on them over the same on dense ones.

A dense step reads a kernel as tall as there are features and copies a batch as wide: both are spared.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from sklearn.datasets import dump_svmlight_file

from distopt.config import compose, validate
from distopt.training import experiment
from distopt.training.batches import Itinerary
from distopt.training.worker_programs import Replica
from scripts.bench.tools import Line

FEATURES, DENSITY, SAMPLES = 10_000, 0.01, 2_000
TURNS, WINDOW = 14, 10  # the first two turns compile
SETTINGS = ["launcher=sim", "model=logistic", "local=sgd", "batch_size=128", f"optimizer.window={WINDOW}", "workers=1"]


def sparse_speed(data: Path) -> list[Line]:
    """Measure steps per second of windows on either form of the same data, in turns within one process."""
    rng = np.random.default_rng(0)
    x = np.where(rng.random((SAMPLES, FEATURES)) < DENSITY, rng.random((SAMPLES, FEATURES)), 0).astype(np.float32)
    y = rng.integers(0, 2, SAMPLES)
    folder = data.parent
    np.savez(folder / "dense.npz", train_x=x, train_y=y)
    dump_svmlight_file(x, y, str(folder / "sparse.svm"), zero_based=True)
    forms = {
        "dense": ["dataset=npz", f"dataset.file={folder / 'dense.npz'}"],
        "sparse": ["dataset=svmlight", f"dataset.file={folder / 'sparse.svm'}", f"dataset.features={FEATURES}"],
    }
    flights = {form: _windows([*SETTINGS, *more]) for form, more in forms.items()}
    seconds = [{form: next(windows) for form, windows in flights.items()} for _ in range(TURNS)]
    speed = {form: WINDOW / float(np.median([turn[form] for turn in seconds[2:]])) for form in flights}
    detail = f"{speed['sparse']:.0f} over {speed['dense']:.0f} steps/s, {FEATURES:,} features, batch 128"
    ratio = speed["sparse"] / speed["dense"]
    return [Line("logistic at 1 % density: sparse over dense features", ratio, "ratio", ">= 4 (CPU)", detail)]


def _windows(overrides: list[str]) -> Iterator[float]:
    """Yield the seconds of each window of a worker."""
    it = experiment.build(validate(compose([*overrides, "epochs=null", "stop.updates=1000"])))
    replica, itinerary = Replica(it), Itinerary(it, 0)
    position = replica.begin()
    while True:
        began = time.perf_counter()
        flight = jax.block_until_ready(replica.fly(position, itinerary.next()))
        yield time.perf_counter() - began
        position = replica.land(flight.window.end, flight)
