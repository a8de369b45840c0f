"""Implicit momentum in comparisons: where it is measured, and its figure."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distopt.report.comparison.compare import Comparison, compare_runs
from distopt.report.figures import momenta
from distopt.runs.results import load_all
from scripts.tools import folders

QUADRATIC = {"name": "quadratic", "start": [1.0, 1.0], "curvatures": [0.5, 1.0], "noise": 0.0}
MOMENTUM, RATE = 0.6, 0.05


def evaluations(every: int = 1) -> pd.DataFrame:
    """A center with momentum on the quadratic."""
    path = [np.ones(2), np.ones(2)]
    for _ in range(20):
        path.append(path[-1] + MOMENTUM * (path[-1] - path[-2]) - RATE * np.array([0.5, 1.0]) * path[-1])
    frame = pd.DataFrame(np.array(path), columns=["x0", "x1"]).assign(split="train", accuracy=np.nan)
    frame["update"] = range(len(frame))
    frame["samples"], frame["time_s"] = 0, 0.1 * frame["update"]
    frame["loss"] = 0.25 * frame["x0"] ** 2 + 0.5 * frame["x1"] ** 2
    return frame.iloc[::every]


def compared(folder: Path, seeds: int, every: int = 1) -> Comparison:
    for workers in (2, 8):
        for seed in range(seeds):
            other = {"model": QUADRATIC, "dataset": {"name": "none"}}
            settings = folders.config("downpour", seed, workers, **other)
            folders.write(folder / f"{workers}-{seed}", settings=settings, eval_rows=evaluations(every))
    return compare_runs(load_all([folder])[0])


def test_it_is_a_column_and_a_figure_of_runs_evaluated_after_every_update(tmp_path: Path) -> None:
    found = compared(tmp_path, seeds=3)
    assert found.rows["implicit_momentum"].tolist() == pytest.approx([MOMENTUM] * 2, abs=1e-5)
    figure = momenta.momentum_figure(found.groups[0], found.rows)
    assert figure is not None
    (legend,) = figure.legends
    assert {entry.get_text().split(":")[0] for entry in legend.get_texts()} == {"1 − 1/n", "downpour"}
    assert list(figure.axes[0].lines[0].get_xdata()) == [2, 8]


@pytest.mark.parametrize(("seeds", "every"), [(2, 1), (3, 2)])
def test_runs_that_do_not_tell_have_neither(tmp_path: Path, seeds: int, every: int) -> None:
    found = compared(tmp_path, seeds, every)
    assert found.rows["implicit_momentum"].isna().all()
    assert momenta.momentum_figure(found.groups[0], found.rows) is None
