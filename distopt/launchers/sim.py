"""Virtual time: the commit order and the clock of a cluster model, the training of this process."""

from distopt.cluster import Cluster, Workload, schedule
from distopt.experiment import Experiment
from distopt.launchers import Interrupted, Launch, Watch
from distopt.launchers.batched import Batched, width
from distopt.launchers.inline import Engine, train
from distopt.launchers.single import Single
from distopt.replica import Replica, shapes
from distopt.trees import tree_bytes

CLOCK = "virtual"
WORTHWHILE = 4  # windows in a batch; narrower ones cost more in copies of rows than they gain


def check(experiment: Experiment) -> list[str]:
    """Return warnings; raises ConfigError if the cluster cannot run this experiment."""
    schedule(cluster(experiment), workload(experiment))
    return []


def launch(experiment: Experiment, watch: Watch, interrupted: Interrupted) -> Launch:
    """Train in the order and on the clock that the cluster model gives; see `distopt.launchers`."""
    return train(experiment, schedule(cluster(experiment), workload(experiment)), _engine, watch, interrupted)


def _engine(experiment: Experiment, replica: Replica, watch: Watch) -> Engine:
    """Vectorize over workers where replicas are small enough to gain from it."""
    wide = width(experiment, replica)
    return Batched(experiment, replica, watch, wide) if wide >= WORTHWHILE else Single(experiment, replica, watch)


def cluster(experiment: Experiment) -> Cluster:
    """Return the cluster model of an experiment."""
    return Cluster.from_settings(experiment.config["cluster"])


def workload(experiment: Experiment) -> Workload:
    """Return what an experiment asks of a cluster."""
    layout = shapes(experiment)
    return Workload(
        workers=experiment.workers,
        window=experiment.window,
        steps=experiment.budget,
        quorum=experiment.quorum,
        bytes_up=tree_bytes(layout.message),
        bytes_down=tree_bytes(layout.reply),
        seed=experiment.seed,
        batch_size=experiment.batch_size,
    )
