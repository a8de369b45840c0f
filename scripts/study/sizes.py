"""The runs of the study, in full size and in the reduced size that the documentation shows."""

from collections.abc import Sequence
from typing import NamedTuple

from distopt.config import choices

CLUSTERS = ("homogeneous", "heterogeneous", "stragglers")
TUNED_WITH = 16  # workers, on the homogeneous cluster
LEFT_OUT = {"sequential"}  # uses one worker, whatever `workers` is


class Part(NamedTuple):
    """Runs of one optimizer: every combination of `axes`, with seeds 0 to `seeds` - 1."""

    name: str
    overrides: tuple[str, ...]
    axes: tuple[str, ...]
    seeds: int

    @property
    def sweep(self) -> list[str]:
        """Return the overrides that give all runs, as for `distopt run -m`."""
        only = "hydra.sweeper.params=null"  # without the experiment's own sweep
        seeds = ",".join(map(str, range(self.seeds)))
        return ["experiment=study", only, *self.overrides, *self.axes, f"seed={seeds}"]


class Trial(NamedTuple):
    """Values of the tuned settings."""

    learning_rate: float
    window: int

    @property
    def overrides(self) -> tuple[str, ...]:
        """Return the trial as overrides."""
        return f"local.learning_rate={self.learning_rate}", f"optimizer.window={self.window}"


class Size(NamedTuple):
    """The size of the study."""

    name: str
    overrides: tuple[str, ...]
    words: str  # the setting, for readers
    learning_rates: tuple[float, ...]
    windows: tuple[int, ...]
    tuning_seeds: int
    workers: tuple[int, ...]
    seeds: int
    target: float  # validation accuracy, fixed before any run
    seconds: float  # expected for one run on one core, with its share of compilation

    @property
    def trials(self) -> list[Trial]:
        """Return the trials that every optimizer gets."""
        return [Trial(rate, window) for rate in self.learning_rates for window in self.windows]

    @property
    def workloads(self) -> list[tuple[str, int]]:
        """Return the settings that optimizers are compared on: cluster and number of workers."""
        return [(cluster, n) for cluster in CLUSTERS for n in self.workers]

    def tuning(self, optimizers: Sequence[str]) -> list[Part]:
        """Return the runs that decide learning rate and window."""
        rates = f"local.learning_rate={','.join(map(str, self.learning_rates))}"
        windows = f"optimizer.window={','.join(map(str, self.windows))}"
        fixed = (*self.overrides, "cluster=homogeneous", f"workers={TUNED_WITH}")
        return [
            Part(f"tuning {name}", (*fixed, f"optimizer={name}"), (windows, rates), self.tuning_seeds)
            for name in optimizers
        ]

    def comparison(self, chosen: dict[str, Trial]) -> list[Part]:
        """Return the runs to compare, each optimizer with its chosen trial."""
        axes = f"workers={','.join(map(str, self.workers))}", f"cluster={','.join(CLUSTERS)}"
        return [
            Part(f"comparison {name}", (*self.overrides, f"optimizer={name}", *trial.overrides), axes, self.seeds)
            for name, trial in chosen.items()
        ]

    def cost(self, optimizers: int) -> tuple[int, float]:
        """Return the number of runs, and their expected seconds on one core."""
        runs = optimizers * (len(self.trials) * self.tuning_seeds + len(self.workloads) * self.seeds)
        return runs, runs * self.seconds


FULL = Size(
    name="full",
    overrides=(),
    words="a network 784-64-10, batch 32, 5 passes over the data",
    learning_rates=(0.0003, 0.001, 0.003),
    windows=(1, 5, 20),
    tuning_seeds=3,
    workers=(8, 16, 32, 64),
    seeds=5,
    target=0.84,
    seconds=12,
)
REDUCED = Size(
    name="reduced",
    overrides=("model=logistic", "batch_size=64", "epochs=4", "evaluate.points=10"),
    words="logistic regression, batch 64, 4 passes over the data",
    learning_rates=(0.002, 0.01),
    windows=(2, 10),
    tuning_seeds=2,
    workers=(8, 32),
    seeds=3,
    target=0.80,
    seconds=5,
)


def optimizers() -> list[str]:
    """Return the optimizers that take part."""
    return [name for name in choices("optimizer") if name not in LEFT_OUT]
