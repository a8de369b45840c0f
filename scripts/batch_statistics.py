"""With which statistics of batch normalisation a center is to be evaluated: the figure in docs/data.md.

Four workers train a small residual network on the digits, and the mean of their parameters is taken after every ten
steps. That center is measured with the statistics it was initialized with, with a worker's running averages, with the
mean of all workers', and with statistics computed anew at its parameters, as evaluations of runs have them.

    python -m scripts.batch_statistics
"""

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from distopt import config
from distopt.report.figures.style import PAGE, STYLE
from distopt.rules import Params
from distopt.tasks import ModelState
from distopt.training import experiment as experiments
from distopt.training.batches import Itinerary
from distopt.training.evaluation import Evaluator
from distopt.training.experiment import Experiment
from distopt.training.worker import Position
from distopt.training.worker_programs import Replica
from scripts.tools.command import ROOT

WORKERS, WINDOW, ROUNDS, SEEDS, BETWEEN = 4, 10, 30, 3, 3
RUN = ["model=resnet", "model.norm=batch", "optimizer=averaging", "local.learning_rate=0.01"]
RUN += ["epochs=null", f"stop.updates={ROUNDS}", f"workers={WORKERS}", f"optimizer.window={WINDOW}"]
PARTITIONS = {"iid": "random shards", "label": "shards sorted by label"}
WHICH = ("recomputed", "mean of the workers'", "worker 0's", "initial")
FILE = ROOT / "docs" / "images" / "batch_statistics.png"


class Given(Evaluator):
    """Evaluates with a model state that is given, instead of one computed at the parameters."""

    given: ModelState = None

    def _state(self, params: Params, members: int) -> ModelState:
        return self.given


def build(partition: str, seed: int = 0, *more: str) -> Experiment:
    """Return the experiment with shards dealt in a way of `dataset.partition`."""
    chosen = [*RUN, f"dataset.partition={partition}", f"seed={seed}", *more]
    return experiments.build(config.validate(config.compose(chosen)))


def rounds(experiment: Experiment, count: int) -> Iterator[tuple[Params, list[ModelState], ModelState]]:
    """Train with the mean of parameters after every window; yield center, the workers' states, and the initial one."""
    replica = Replica(experiment)
    itineraries = [Itinerary(experiment, worker) for worker in range(experiment.workers)]
    positions = [replica.begin() for _ in itineraries]
    for _ in range(count):
        pairs = zip(positions, itineraries, strict=True)
        flights = [replica.fly(position, itinerary.next()) for position, itinerary in pairs]
        center = mean([flight.window.end for flight in flights])
        positions = [Position(center, flight.local, flight.model, flight.rule) for flight in flights]
        yield center, [jax.tree.map(jnp.array, position.model) for position in positions], replica.model_state


def measure(experiment: Experiment, count: int = ROUNDS, every: int = BETWEEN) -> dict[str, list[float]]:
    """Return the validation accuracy of the center with each of `WHICH` statistics, after every few rounds."""
    found: dict[str, list[float]] = {which: [] for which in WHICH}
    for i, (center, states, initial) in enumerate(rounds(experiment, count), start=1):
        if i % every:
            continue
        given = Given(experiment, initial)
        fresh = Evaluator(experiment, initial)
        for which, state in zip(WHICH, (None, mean(states), states[0], initial), strict=True):
            given.given = state
            evaluate = fresh if state is None else given
            found[which].append(evaluate(center, update=i, time_s=0.0, samples=0)[-1]["accuracy"])
    return found


def mean(trees: list) -> Params:
    """Return the mean of pytrees."""
    return jax.tree.map(lambda *leaves: jnp.mean(jnp.stack(leaves), axis=0), *trees)


def draw(path: Path) -> None:
    """Measure means over seeds and draw them."""
    figure = Figure(figsize=(PAGE, 2.4), layout="constrained")
    panels = figure.subplots(1, len(PARTITIONS), sharey=True)
    steps = WINDOW * np.arange(BETWEEN, ROUNDS + 1, BETWEEN)
    for panel, (partition, title) in zip(panels, PARTITIONS.items(), strict=True):
        seeds = [measure(build(partition, seed)) for seed in range(SEEDS)]
        for which, style in zip(WHICH, ("-", "--", "-.", ":"), strict=True):
            curve = np.mean([found[which] for found in seeds], axis=0)
            panel.plot(steps, curve, style, label=which)
            print(f"{title:<24} {which:<22} {curve[-1]:.3f}", flush=True)
        panel.set(title=title, xlabel="local steps of each worker", ylim=(0, 1.02))
    panels[0].set_ylabel("validation accuracy")
    panels[1].legend(title="statistics", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    with matplotlib.rc_context(STYLE):
        draw(FILE)
