"""The choice of learning rate and window: the same trials for every optimizer, judged by the mean over seeds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from distopt.metrics.statistics import mean_interval
from distopt.runs.results import Run
from scripts.study.sizes import Trial
from scripts.tools.runs import Runs, final

COLUMNS = ("optimizer", "learning_rate", "window", "seeds", "accuracy", "accuracy_low", "accuracy_high", "chosen")


def choose(runs: Runs, optimizers: Sequence[str], trials: Sequence[Trial]) -> tuple[dict[str, Trial], pd.DataFrame]:
    """Return each optimizer's best trial, by mean final validation accuracy of the center, and a table of all trials.

    A run that diverged counts with its last accuracy. The first of equal trials is chosen; an optimizer without runs
    has no choice.
    """
    chosen, rows = {}, []
    for name in optimizers:
        found = [(trial, _runs(runs, name, trial)) for trial in trials]
        means = [float(np.nanmean(final(each))) if each else -np.inf for _, each in found]
        best = int(np.argmax(np.nan_to_num(means, nan=-np.inf)))
        if found[best][1]:
            chosen[name] = trials[best]
        for i, (trial, each) in enumerate(found):
            interval = mean_interval(final(each))
            rows.append((name, *trial, len(each), *interval, i == best and bool(each)))
    return chosen, pd.DataFrame(rows, columns=list(COLUMNS))


def _runs(runs: Runs, name: str, trial: Trial) -> list[Run]:
    found = runs.pick(f"tuning {name}", window=trial.window)
    return [run for run in found if run.config["local"]["learning_rate"] == trial.learning_rate]
