"""Repeats a recorded commit order, which proves that a launcher lost, duplicated or reordered no commit."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distopt.errors import ResultsError
from distopt.launchers import trace
from distopt.launchers.inprocess.loop import train
from distopt.launchers.inprocess.one_by_one import Single
from distopt.metrics import staleness
from distopt.records import Interrupted, Launch, News, Watch
from distopt.runs import results
from distopt.settings import flat
from distopt.training.experiment import Experiment, taught
from distopt.training.worker_programs import Replica

CLOCK = "virtual"
TOGETHER = False
FREE = {
    "dataset.resident",
    "launcher",
    "cluster",
    "experiment",
    "evaluate",
    "stop",
    "output",
    "name",
    "resume",
    "checkpoint",
    "seeds",
    "trackers",
    "trackers_output",
}  # settings that may differ in a replay


def check(experiment: Experiment) -> list[str]:
    """Return warnings; raises ResultsError if the trace cannot be one of this experiment."""
    path = Path(experiment.config["launcher"]["trace"])
    recorded = trace.read(path)
    recorded.verify(experiment)
    if not path.is_dir():
        return []
    run = results.load(path)
    if unlike := differences(run.config, experiment.config):
        raise ResultsError(f"launcher.trace={path}: is of another configuration: {'; '.join(unlike)}")
    pulls, fetch = experiment.optimizer.pulls_apart, experiment.optimizer.synchrony.fetch
    if staleness.contradictions(recorded.commits, recorded.events, pulls=pulls, fetch=fetch):
        raise ResultsError(
            f"launcher.trace={path}: its workers pulled the center without a commit, and no events say when; run it "
            "once more instead: virtual time gives the same run for the same seed"
        )
    actors = run.info.get("actors") or []
    if actors:  # the same bits need the same threads; JAX reads this when it first computes
        os.environ["PJRT_NPROC"] = str(actors[0]["threads"])
    return []


def launch(experiments: Sequence[Experiment], watch: Watch, interrupted: Interrupted) -> Launch:
    """Train in the order of `launcher.trace`; see `distopt.launchers`."""
    (experiment,) = taught(experiments)
    recorded = trace.read(Path(experiment.config["launcher"]["trace"]))
    watch.enter("compile")
    replica = Replica(experiment)
    engine = Single(experiment, replica)
    order = recorded.updates(pull=experiment.optimizer.worker.pull)
    outcome = yield from train(experiment, order, engine, replica, watch, interrupted, finishes=recorded.finished)
    yield News([], [], outcome=outcome)


def differences(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the settings that decide a run's numbers and differ, each as `key: recorded, now`."""
    old, new = (flat({k: v for k, v in each.items() if k not in FREE}) for each in (recorded, now))
    keys = sorted(k for k in (old.keys() | new.keys()) - FREE if not _alike(old.get(k), new.get(k)))
    return [f"{key} was {old.get(key)}, is {new.get(key)}" for key in keys]


def _alike(old: Any, new: Any) -> bool:
    """Return whether two values are equal, or paths of the same file: earlier versions recorded relative ones."""
    texts = isinstance(old, str) and isinstance(new, str)
    return old == new or (texts and Path(os.path.expanduser(old)).absolute() == Path(new))
