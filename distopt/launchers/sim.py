"""Virtual time: a cluster model gives commit order and clock, and this process trains."""

from collections.abc import Generator, Sequence

import jax

from distopt.cluster import Draws, schedule
from distopt.launchers.inprocess.loop import NOTHING, train
from distopt.launchers.inprocess.one_by_one import Single
from distopt.launchers.inprocess.vectorized.pool import STRETCH, Pool, power_of_four
from distopt.launchers.inprocess.vectorized.run import Batched, unsupported
from distopt.launchers.workload import cluster, workload
from distopt.records import Interrupted, Launch, News, Outcome, Training, Watch
from distopt.runs.checkpoints import wanted
from distopt.training.experiment import Experiment, taught
from distopt.training.shapes import shapes
from distopt.training.worker_programs import Replica
from distopt.trees import tree_bytes
from distopt.windows import Judged, Planned

CLOCK = "virtual"
TOGETHER = True
WORTHWHILE = 4  # windows in a batch; narrower ones cost more in copies of rows than they gain
CACHE_BYTES = 2**20  # replicas of one batch should fit in a core's cache: beyond it a batch is slower than a loop
ROOM_BYTES = 2**28  # parameters and local state of all replicas that train together


def check(experiment: Experiment) -> list[str]:
    """Return warnings; raises ConfigError if the cluster cannot run this experiment."""
    schedule(cluster(experiment), workload(experiment))
    return []


def launch(experiments: Sequence[Experiment], watch: Watch, interrupted: Interrupted) -> Launch:
    """Train in the order and on the clock that the cluster model gives; see `distopt.launchers`."""
    experiments = [paced(experiment) for experiment in taught(experiments)]
    together = max(1, ROOM_BYTES // (replica_bytes(experiments[0]) * experiments[0].workers))
    if width(experiments[:together]) < WORTHWHILE or wanted(experiments[0].config):
        together = 1  # a run resumes from its checkpoint alone, so it must train alone from the start
    if any(experiment.program != experiments[0].program for experiment in experiments):
        together = 1  # schedules of other lengths, where seeds have other budgets
    for first in range(0, len(experiments), together):
        group = experiments[first : first + together]
        if not interrupted():
            yield from _train(group, first, watch, interrupted)
            continue
        for i in range(len(group)):
            yield News([], [], first + i, outcome=Outcome("interrupted", "before training began", None, {}))


def _train(experiments: Sequence[Experiment], first: int, watch: Watch, interrupted: Interrupted) -> Launch:
    """Train some runs together, vectorized over workers and runs where replicas are small enough to gain from it."""
    watch.enter("compile")
    replicas = [Replica(experiment) for experiment in experiments]
    wide = width(experiments)
    pool = Pool(experiments, replicas, watch, wide) if wide >= WORTHWHILE else None
    active: dict[int, Training] = {}
    for i, (experiment, replica) in enumerate(zip(experiments, replicas, strict=True)):
        engine = Batched(experiment, pool, i) if pool else Single(experiment, replica)
        asked = engine.steps_of if isinstance(engine, Single) and judged(experiment) else None
        order = schedule(cluster(experiment), workload(experiment), asked)
        active[i] = train(experiment, order, engine, replica, watch, interrupted)
    while active:
        for i, training in list(active.items()):
            outcome = yield from _advance(training, first + i)
            if outcome is not None:
                yield News([], [], first + i, outcome=outcome)
                del active[i]
        if pool:
            pool.work()


def _advance(training: Training, run: int) -> Generator[News, None, Outcome | None]:
    """Let a run train until it ends, or waits for work it shares with others."""
    try:
        while (news := next(training)) is not NOTHING:
            yield news._replace(run=run)
    except StopIteration as end:
        return end.value
    return None


def judged(experiment: Experiment) -> bool:
    """Return whether only the computation of a window shows when it ends."""
    return isinstance(experiment.optimizer.worker.steps.until, Judged)


def paced(experiment: Experiment) -> Experiment:
    """Return an experiment with its workers' speeds on its cluster, if its windows depend on them."""
    if not isinstance(experiment.optimizer.worker.steps.until, Planned):
        return experiment
    return experiment._replace(speeds=tuple(Draws(cluster(experiment), workload(experiment)).speeds))


def replica_bytes(experiment: Experiment) -> int:
    """Return the size of one replica's parameters and local state."""
    params = shapes(experiment).params
    return tree_bytes((params, jax.eval_shape(experiment.local.init, params)))


def width(experiments: Sequence[Experiment]) -> int:
    """Return how many windows one batch should hold at most; one where the vectorized engine cannot do the run."""
    settings = experiments[0].config["launcher"]
    if unsupported(experiments[0]) is not None:
        return 1
    if settings["width"]:
        return settings["width"]
    fits = max(1, CACHE_BYTES // max(1, replica_bytes(experiments[0])))
    return power_of_four(min(fits, STRETCH, experiments[0].workers * len(experiments)))
