"""Repeats a recorded commit order: the proof that a launcher lost, duplicated or reordered nothing."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from distopt import results
from distopt.cluster import Commit, Update
from distopt.errors import ResultsError
from distopt.experiment import Experiment
from distopt.launchers import Interrupted, Launch, Watch
from distopt.launchers.inline import train
from distopt.launchers.single import Single

CLOCK = "virtual"


def check(experiment: Experiment) -> list[str]:
    """Return warnings; raises ResultsError if there is no commit order to repeat."""
    read_trace(Path(experiment.config["launcher"]["trace"]))
    return []


def launch(experiment: Experiment, watch: Watch, interrupted: Interrupted) -> Launch:
    """Train in the order of `launcher.trace`; see `distopt.launchers`."""
    order = read_trace(Path(experiment.config["launcher"]["trace"]))
    return train(experiment, order, Single, watch, interrupted)


def read_trace(path: Path) -> Iterator[Update]:
    """Read a commit order: a run's folder, or a CSV with a column `worker` and optionally `time_s`.

    Raises:
        ResultsError: nothing readable there.
    """
    try:
        frame = results.load(path).commits if path.is_dir() else pd.read_csv(path)
        workers = frame["worker"].astype("int64")
    except (OSError, KeyError, ValueError) as error:
        raise ResultsError(
            f"launcher.trace={path}: no commit order there ({error}); give a run's folder, or a CSV with a column worker"
        ) from None
    zeros = workers * 0.0
    columns = [frame.get(name, zeros).tolist() for name in ("time_s", "compute_s", "exchange_s", "server_s")]
    rows = zip(workers.tolist(), *columns, strict=True)
    return (Update(time_s, (Commit(worker, 0, *seconds),)) for worker, time_s, *seconds in rows)
