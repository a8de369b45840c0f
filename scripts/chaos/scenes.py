"""The disturbed runs: one for every optimizer, and some with other losses."""

import random
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple

from distopt import config as configuration
from distopt.datasets.dataset import length
from distopt.runner import run as runner
from distopt.training import experiment as experiments
from distopt.training.experiment import Experiment
from scripts.chaos.account import Account, account, interval
from scripts.chaos.disturb import Fault, disturbed, plan
from scripts.chaos.node import Node
from scripts.tools.processes import Cluster

TASK = ["workers=4", "model.hidden=[128,128]", "batch_size=128", "epochs=300", "evaluate.points=1"]
ACTORS = ["launcher=ray", "launcher.workers_per_actor=2"]
UNDISTURBED = ["launcher=sim", "cluster=heterogeneous"]
SEEDS = 5
CHECKPOINTS = 25  # updates between checkpoints in runs whose server is killed
PATIENCE_S = 300  # a busy machine must not be taken for a silent one


class Scene(NamedTuple):
    """A disturbed run."""

    name: str
    optimizer: str
    loss: str  # launcher.on_worker_loss
    faults: Sequence[Fault]
    seed: int  # of lost calls and of the processes that are hit
    timeout: float = PATIENCE_S
    second_node: bool = False


def scenes(seed: int) -> list[Scene]:
    """Return all scenes."""
    names = sorted(Path(path.name).stem for path in resources.files("distopt.conf").joinpath("optimizer").iterdir())
    return [
        *(_common(name, i, seed * 1000 + i) for i, name in enumerate(names)),
        Scene("adag/silence", "adag", "continue", [Fault("worker silenced", 0.2)], seed, timeout=60),
        Scene("adag/server", "adag", "replace", [Fault("server killed", 0.2), Fault("server killed", 0.5)], seed),
        Scene("adag/nodes", "adag", "replace", [Fault("node removed", 0.2)], seed, second_node=True),
    ]


def _common(optimizer: str, number: int, seed: int) -> Scene:
    """Kill and stop workers; every other run replaces them, and so does `sequential`, which has no other worker."""
    loss = "continue" if number % 2 == 0 and optimizer != "sequential" else "replace"
    faults = plan(random.Random(seed), kills=1 if loss == "continue" else 2, stops=4)
    return Scene(optimizer, optimizer, loss, faults, seed)


def play(scene: Scene) -> Account:
    """Train undisturbed in virtual time, then disturbed on real processes; return the account."""
    task = [f"optimizer={scene.optimizer}", *TASK]
    experiment = experiments.build(configuration.validate(configuration.compose(task)))
    overrides = [*task, *ACTORS, f"launcher.on_worker_loss={scene.loss}", f"launcher.timeout={scene.timeout}"]
    if any(fault.kind == "server killed" for fault in scene.faults):
        overrides.append(f"checkpoint.every={CHECKPOINTS}")
    folder = Path(mkdtemp(prefix="distopt-chaos-"))
    try:
        expected = undisturbed(experiment, task, folder / "undisturbed")
        with ExitStack() as stack:
            node = None
            if scene.second_node:
                address = stack.enter_context(Cluster(folder))
                node = stack.enter_context(Node(folder, address))
                overrides += [f"launcher.address={address}", "launcher.placement=SPREAD"]
            commits = sum(experiment.windows)
            run, done = disturbed(folder / "disturbed", overrides, scene.seed, scene.faults, commits, node)
        complete = not experiment.optimizer.synchrony.whole
        return account(run, done, expected, complete=complete)._replace(name=scene.name)
    finally:
        shutil.rmtree(folder)


def undisturbed(experiment: Experiment, task: Sequence[str], folder: Path) -> tuple[float, float]:
    """Return the prediction interval for the final accuracy of one more undisturbed run."""
    assert experiment.dataset is not None
    configs = [configuration.compose([*task, *UNDISTURBED, f"seed={k}", f"output={folder}"]) for k in range(SEEDS)]
    accuracies = [run.summary["validation_accuracy_final"] for run in runner.run_together(configs)]
    return interval(accuracies, length(experiment.dataset.validation))
