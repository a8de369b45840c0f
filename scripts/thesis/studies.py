"""The studies with their expected cost, each a reduced `experiment=thesis/...`.

The network is 784-64-64-10 (784-400-400-10 where stability is judged, D2 to D5) instead of 784-1000-2000-1000-10,
batches have 32 samples instead of 128, and epochs are a quarter of the thesis's. So local steps, windows and commits
are as many as in the thesis (18,750 steps for its 40 epochs), and samples a quarter.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

SMALL = ("model=mlp", "model.hidden=[64,64]", "batch_size=32", "evaluate.samples=1000", "evaluate.points=20")
WIDE = (*SMALL, "model.hidden=[400,400]")  # for D2 to D5: a network's tolerance of staleness depends on its width
LONG, SHORT = ("epochs=10",), ("epochs=1.25",)  # as many local steps as 40 and 5 epochs of the thesis
EXPONENTIAL = ("cluster=homogeneous", "cluster.step.law=exponential")


class Study(NamedTuple):
    """Runs of one experiment: every combination of `axes`, with seeds 0 to `seeds` - 1."""

    name: str
    experiment: str  # conf/experiment/thesis/EXPERIMENT.yaml
    seeds: int
    seconds: float  # expected for one run on one core, with its share of compilation
    axes: Mapping[str, tuple[object, ...]] = {}
    overrides: tuple[str, ...] = ()

    @property
    def sweep(self) -> list[str]:
        """Return the overrides that give all runs of the study, as for `distopt run -m`."""
        swept = [f"{key}={','.join(map(str, values))}" for key, values in self.axes.items()]
        seeds = ",".join(map(str, range(self.seeds)))
        only = "hydra.sweeper.params=null"  # without the experiment's own sweep
        return [f"experiment=thesis/{self.experiment}", only, *self.overrides, *swept, f"seed={seeds}"]

    @property
    def runs(self) -> int:
        """Return the number of runs."""
        return self.seeds * prod(map(len, self.axes.values()))

    @property
    def core_seconds(self) -> float:
        """Return the expected seconds of the whole study on one core."""
        return self.seconds * self.runs


def _critical(law: str, workers: int, gain: float) -> Study:
    """Return a study on a quadratic whose curvatures are gains within 30 % of an expected critical gain."""
    gains = [round(gain * (0.7 + 0.02 * i), 6) for i in range(31)]
    cluster = ("cluster.step.law=gamma", "cluster.step.cv=0.2") if law == "gamma" else (f"cluster.step.law={law}",)
    shape = (f"model.curvatures={gains}", f"model.start={[1] * len(gains)}".replace(" ", ""))
    budget = (f"workers={workers}", f"stop.updates={120 * workers}")
    return Study(f"stability {law} {workers}", "stability", 3, 4, {}, (*cluster, *shape, *budget))


#: (law, workers) -> critical gain of Downpour with window 1 on a quadratic; gamma has cv 0.2
CRITICAL = {
    ("deterministic", 10): 0.1652,
    ("deterministic", 20): 0.0805,
    ("deterministic", 40): 0.0398,
    ("gamma", 10): 0.177,
    ("gamma", 20): 0.086,
    ("gamma", 40): 0.042,
    ("exponential", 10): 0.60,
    ("exponential", 20): 0.40,
    ("exponential", 40): 0.29,
}
RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)

STUDIES = (
    Study("baseline", "setup", 5, 14, {}, (*WIDE, *SHORT, "optimizer=sequential")),
    Study("downpour", "downpour", 5, 20, {"workers": (10, 20, 40)}, (*WIDE, *SHORT)),
    Study("downpour windows", "downpour", 5, 18, {"optimizer.window": (5, 10, 20)}, (*WIDE, *SHORT)),
    Study("downpour exponential", "downpour", 5, 20, {"workers": (10, 20)}, (*WIDE, *SHORT, *EXPONENTIAL)),
    Study("dynsgd", "dynsgd", 5, 18, {"optimizer.window": (1, 3, 10, 30)}, (*WIDE, *SHORT)),
    Study("dynsgd long", "dynsgd", 3, 14, {"optimizer.window": (10,)}, (*SMALL, *LONG)),
    Study("elastic", "elastic", 5, 4, {"optimizer.window": (1, 15, 30)}, (*SMALL, *SHORT)),
    Study("adag", "adag", 3, 12, {"optimizer.gamma": ("1e-3", "1e-4", "1e-5")}, (*SMALL, *LONG)),
    Study(
        "spike",
        "spike",
        5,
        8,
        {"optimizer": ("agn", "adag"), "optimizer.window": (10, 15)},
        (*SMALL, "epochs=2.5", "evaluate.points=100"),
    ),
    Study(
        "grid",
        "grid",
        3,
        12,
        {
            "optimizer": ("agn", "aeasgd", "adag"),
            "workers": (10, 20, 30, 40),
            "optimizer.window": (10, 15, 20, 30, 40),
        },
        (*SMALL, *LONG),
    ),
    Study(
        "learning rate",
        "learning_rate",
        2,
        4,
        {
            "workers": (10, 40),
            "cluster.step.law": ("gamma", "exponential"),
            "local.learning_rate": RATES,
        },
        (*SMALL, "evaluate.points=5", "epochs=0.625"),
    ),
    *(_critical(law, workers, gain) for (law, workers), gain in CRITICAL.items()),
    Study("equilibrium", "equilibrium", 5, 12),
    Study(
        "early",
        "equilibrium",
        3,
        17,
        {"optimizer.window": (10, 50), "optimizer.equilibrium": ("none", "thesis")},
        ("stop.updates=null", "stop.seconds=400", "evaluate.every=50"),  # 40,000 local steps
    ),
    Study("exchange", "exchange", 5, 6, {"optimizer.elastic_learning_rate": (0.01, 0.2)}),
    Study(
        "direction",
        "direction",
        1,
        2,
        {"model": ("booth", "beale"), "optimizer.window": (1, 10, 100, 1000, 10000)},
        ("local.learning_rate=0.001",),
    ),
)


def budget(studies: Sequence[Study], cores: int) -> str:
    """Return a table of the expected cost of the studies."""
    rows = [f"{study.name:<22}{study.runs:>5} runs{study.core_seconds:>8.0f} s" for study in studies]
    total = sum(study.core_seconds for study in studies)
    return "\n".join([*rows, f"{total:.0f} s of computing, about {total / cores / 60:.0f} min on {cores} cores"])
