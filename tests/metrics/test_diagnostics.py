import numpy as np
import pandas as pd
import pytest

from distopt.metrics import diagnostics
from scripts.tools import folders


def test_gap_is_the_distance_per_weight():
    frame = pd.DataFrame({"distance": [0.0, 6.0]})
    assert diagnostics.gap(frame, 9).tolist() == [0, 2]


def test_relative_gap_takes_the_norm_of_the_center_between_evaluations():
    commits = pd.DataFrame({"update": [1, 3], "distance": [1.0, 6.0]})
    evals = pd.DataFrame({"update": [0, 0, 4, 4], "center_norm": [2.0, 2.0, 6.0, 6.0]})
    assert diagnostics.relative_gap(commits, evals).tolist() == [0.5, 1.5]
    assert diagnostics.relative_gap(commits, evals.drop(columns="center_norm")).isna().all()


def test_waste_is_counted_in_samples():
    frame = pd.DataFrame({"worker": [0, 1, 0, 0], "sequence": [1, 1, 2, 2], "samples": [10, 10, 10, 20]})
    frame["steps"] = 1
    assert diagnostics.wasted(frame) == {"dropped_share": 0, "duplicated_share": 0.4}
    dropped = frame.assign(accepted=[1.0, 0.0, 1.0, 0.0])
    copies = frame.assign(sequence=[1, 1, 2, 3], duplicate=[0.0, 1.0, 0.0, 1.0])
    assert diagnostics.wasted(copies) == {"dropped_share": 0, "duplicated_share": 0.6}
    assert diagnostics.wasted(dropped) == {"dropped_share": 0.6, "duplicated_share": 0}
    refused = frame.assign(refused=[1.0, 0.0, 0.0, 0.0])
    assert diagnostics.wasted(refused) == {"dropped_share": 0.2, "duplicated_share": 0.4}
    assert np.isnan(list(diagnostics.wasted(frame.head(0)).values())).all()


def test_a_summary_tells_what_was_recorded():
    commits, evals = folders.commits(updates=10), folders.evals(points=3, updates=10)
    plain = diagnostics.describe(commits, evals, None)
    assert set(plain) == {"gap_relative_mean", "dropped_share", "duplicated_share"}
    assert np.isnan(plain["gap_relative_mean"])
    more = diagnostics.describe(
        commits.assign(progress_cosine=[np.nan, *[0.5] * 9], moved_sampled=1.0, exchange_sampled=0.05),
        evals.assign(center_norm=2.0),
        parameters=4,
    )
    assert more["gap_mean"] == pytest.approx(commits["distance"].mean() / 2)
    assert more["gap_relative_mean"] == pytest.approx(commits["distance"].mean() / 2)
    assert (more["progress_cosine_mean"], more["equilibrium_median"], more["equilibrium_share"]) == (0.5, 2, 0)


def test_the_share_at_equilibrium_counts_ratios_of_1_and_less() -> None:
    commits = folders.commits(updates=5).assign(steps=2, exchange_sampled=[1.0, 1.0, 1.0, 0.0, 0.0])
    commits = commits.assign(moved_sampled=[1.0, 2.0, 3.0, 1.0, 0.0])  # ratios 1/2, 1, 3/2, infinite, and 0 / 0
    described = diagnostics.describe(commits, folders.evals(points=2, updates=5), None)
    assert described["equilibrium_share"] == 2 / 4
