"""The runs of studies: planned, carried out, and picked by their settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from rich.console import Console

import distopt
from distopt import config as configuration
from distopt.metrics.convergence import Curve, curve
from distopt.metrics.efficiency import temporal_efficiency
from distopt.records import ANSWERED
from distopt.runner.finished import History
from distopt.runner.sweep import NOT_STARTED, Sweep
from distopt.runs import provenance
from distopt.runs.results import Run

Array = np.ndarray


class Study(Protocol):
    """A study, or a part of one: every combination of some settings, each with some seeds."""

    @property
    def name(self) -> str:
        """The name by which its runs are picked."""

    @property
    def seeds(self) -> int:
        """The number of runs per combination."""

    @property
    def sweep(self) -> list[str]:
        """The overrides that give all runs, as for `distopt run -m`, the seeds last."""


class Planned(NamedTuple):
    """One run of a study, and the fingerprint that identifies it."""

    study: str
    config: dict[str, Any]
    fingerprint: str


def plan(studies: Sequence[Study], output: Path) -> list[list[Planned]]:
    """Return the runs of all studies; runs in one list differ only in the seed and share compiled programs."""
    groups = []
    for study in studies:
        combinations = configuration.combine([f"output={output}", *study.sweep])
        plain = [configuration.validate(combination.config) for combination in combinations]
        planned = [Planned(study.name, one, configuration.fingerprint(one)) for one in plain]
        groups += [planned[first : first + study.seeds] for first in range(0, len(planned), study.seeds)]
    return groups


def answers(groups: Sequence[Sequence[Planned]], output: Path) -> dict[str, Path]:
    """Return the folders of finished planned runs, by fingerprint; runs by other code do not count."""
    history, folders = History([output]), {}
    for run in (run for group in groups for run in group):
        computed_by = provenance.code_of(run.config)
        found = history.answer(run.fingerprint, computed_by)
        if found and found.code == computed_by:
            folders[run.fingerprint] = found.folder
    return folders


def carry_out(groups: Sequence[Sequence[Planned]], cores: int, together: int = 1) -> list[str]:
    """Carry out the planned runs that have no result yet; return one line per failed run.

    Args:
        groups: from `plan`.
        cores: number of processes at the same time.
        together: consecutive groups that one process takes at a time, because they may share compiled programs.
    """
    labelled = [(_words(run), OmegaConf.create(run.config)) for group in groups for run in group]
    ends = Sweep(Console(width=200), processes=cores, chunk=together).run(labelled)
    if any(end.status in ("interrupted", NOT_STARTED) for end in ends):
        raise KeyboardInterrupt
    return [f"{end.label}: {end.status} ({end.reason})" for end in ends if end.status not in ANSWERED]


def _words(run: Planned) -> str:
    config, optimizer = run.config, run.config["optimizer"]
    words = f"{optimizer['name']}, {config['workers']} workers, window {optimizer['window']}, seed {config['seed']}"
    return f"{run.study}: {words}"


class Runs:
    """Finished runs by study."""

    def __init__(self, groups: Sequence[Sequence[Planned]], output: Path) -> None:
        folders = answers(groups, output)
        planned = [run for group in groups for run in group]
        self.missing = [run for run in planned if run.fingerprint not in folders]
        self._runs = [
            (run.study, distopt.load(folders[run.fingerprint])) for run in planned if run.fingerprint in folders
        ]

    def pick(self, study: str, **settings: Any) -> list[Run]:
        """Return the runs of a study with these settings, ordered by seed.

        Settings are named without their group, such as `workers=10, window=5`; see `_matches`.
        """
        found = [run for name, run in self._runs if name == study and _matches(run, settings)]
        return sorted(found, key=lambda run: run.seed)

    @property
    def datasets(self) -> list[str]:
        """Return the names of the data sets in use."""
        return sorted({run.config["dataset"]["name"] for _, run in self._runs} - {"none"})

    def table(self) -> pd.DataFrame:
        """Return one row per run: study, varied settings, and results."""
        return pd.DataFrame([_row(study, run) for study, run in self._runs])


def _matches(run: Run, settings: dict[str, Any]) -> bool:
    flat = {**run.config["local"], **run.config, **run.config["optimizer"], "optimizer": run.optimizer}
    flat["law"], flat["model"] = run.config["cluster"]["step"]["law"], run.config["model"]["name"]
    return all(flat.get(key) == value for key, value in settings.items())


def _row(study: str, run: Run) -> dict[str, Any]:
    kept = ("validation_accuracy", "validation_loss", "train_accuracy", "train_loss")
    cluster = run.config["cluster"]
    return {
        "study": study,
        "optimizer": run.optimizer,
        "workers": run.config["workers"],
        "window": run.config["optimizer"]["window"],
        "gamma": run.config["optimizer"].get("gamma"),
        "learning_rate": run.config["local"]["learning_rate"],
        "cluster": f"{cluster['name']} {cluster['step']['law']}",
        "epochs": run.config["epochs"],
        "seed": run.seed,
        "status": run.status,
        **{name: run.summary.get(f"{name}_final") for name in kept},
        "staleness_mean": run.summary["staleness_mean"],
        "virtual_s": run.summary["time_s"],
        "wall_s": round(run.info.get("total_s", float("nan")), 1),
    }


def final(runs: Sequence[Run], what: str = "validation_accuracy") -> Array:
    """Return the last value of a metric of the center for each run; NaN where it is not finite."""
    values = [run.summary.get(f"{what}_final") for run in runs]
    return np.array([np.nan if value is None else value for value in values], np.float64)


def accuracy(run: Run, split: str = "validation") -> Curve:
    """Return the accuracy of the center over virtual time."""
    return curve(run.evals, "accuracy", split)


def efficiencies(a: Sequence[Run], b: Sequence[Run], integrand: Any = "metric", split: str = "train") -> Array:
    """Return the temporal efficiency E(a, b) by areas for each common seed."""
    other = {run.seed: run for run in b}
    pairs = [(run, other[run.seed]) for run in a if run.seed in other]
    return np.array(
        [temporal_efficiency(accuracy(x, split), accuracy(y, split), integrand=integrand, classes=10) for x, y in pairs]
    )
