"""The conserved sum of elastic averaging: kept by every elastic rule, and broken by what a launcher must never do."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from distopt import compression
from distopt.metrics import conservation
from distopt.optimizers.parts import probes
from distopt.testing import train
from distopt.training.experiment import Experiment
from tests.small import ADAM, UNEVEN, blobs, experiment

ELASTIC = {"rho": 5.0, "elastic_learning_rate": 0.03}
EAMSGD = {**ELASTIC, "momentum": 0.9, "synchronous": False}
#: three workers behind a barrier
ROUNDS = [0, 2, 1] * 6


def recorded(built: Experiment, order: list[int]) -> pd.DataFrame:
    return pd.DataFrame(train(built, order).commits).assign(bytes_up=8)


@pytest.fixture(scope="module")
def asynchronous() -> pd.DataFrame:
    return recorded(experiment("aeasgd", workers=3, window=2, settings=ELASTIC, local=ADAM), UNEVEN)


@pytest.mark.parametrize(
    ("optimizer", "order", "settings"),
    [("easgd", ROUNDS, ELASTIC), ("eamsgd", UNEVEN, EAMSGD), ("aeasgd", UNEVEN, {**ELASTIC, "atomic": False})],
)
def test_only_local_steps_change_the_sum(optimizer: str, order: list[int], settings: dict[str, Any]) -> None:
    frame = recorded(experiment(optimizer, workers=3, window=2, settings=settings, local=ADAM), order)
    assert conservation.drift(frame).abs().max() < 1e-5
    assert conservation.violations(frame) == 0


def test_the_sum_is_kept_with_data_and_compressed_replies() -> None:
    data = {"data": blobs(), "model": {"name": "logistic"}, "batch_size": 4}
    built = experiment("aeasgd", workers=3, window=2, settings=ELASTIC, **data)
    squeezed = compression.apply(built.optimizer, {"name": "int8", "error_feedback": True})
    for optimizer in (built.optimizer, squeezed):
        frame = recorded(built._replace(optimizer=optimizer), UNEVEN)
        assert len(conservation.drift(frame)) >= len(frame) - 3
        assert conservation.violations(frame) == 0


@pytest.mark.parametrize("wrong", ["lost", "twice", "reply"])
def test_what_is_lost_applied_twice_or_answered_wrongly_is_found(asynchronous: pd.DataFrame, wrong: str) -> None:
    assert conservation.violations(asynchronous) == 0
    frame = asynchronous.copy()
    given = frame.loc[5, "center_probe"] - frame.loc[4, "center_probe"]
    if wrong == "lost":  # the worker went on as if it had been applied
        frame.loc[frame.index >= 5, "center_probe"] -= given
    elif wrong == "twice":
        frame.loc[frame.index >= 5, "center_probe"] += given
    else:  # the worker adopted another reply, and nobody else noticed
        following = frame.index[(frame["worker"] == frame.loc[5, "worker"]) & (frame.index > 5)]
        frame.loc[following, ["start_probe", "end_probe"]] += 0.1 * given
    assert conservation.violations(frame) == 1


def test_a_worker_that_started_over_is_left_out_where_workers_return(asynchronous: pd.DataFrame) -> None:
    frame = asynchronous.copy()
    following = frame.index[(frame["worker"] == frame.loc[5, "worker"]) & (frame.index > 5)][0]
    version = frame.loc[following, "update"] - 1
    center = frame.loc[frame["update"] == version, "center_probe"].item()
    frame.loc[following, ["staleness", "start_probe"]] = [0, center]
    assert conservation.violations(frame) > 0
    frame.loc[following, "end_probe"] += center - asynchronous.loc[following, "start_probe"]
    frame.loc[following + 1 :, "center_probe"] = np.nan  # what follows is another run
    assert conservation.violations(frame.loc[:following], pulls=True) == 0


def test_commits_that_were_not_applied_do_not_count(asynchronous: pd.DataFrame) -> None:
    late = asynchronous.iloc[[5]].assign(accepted=0.0, end_probe=7.0, center_probe=np.nan)
    frame = pd.concat([asynchronous.iloc[:5].assign(accepted=1.0), late])
    assert conservation.violations(frame) == 0
    refused = asynchronous.assign(refused=[0.0] * 5 + [1.0] + [0.0] * 12)
    assert 5 + 1 not in conservation.drift(refused).index


def test_equilibrium_is_the_step_over_the_elastic_difference(asynchronous: pd.DataFrame) -> None:
    ratio = conservation.equilibrium(asynchronous)
    start, end = (asynchronous[[f"{name}_x0", f"{name}_x1"]].to_numpy() for name in ("start", "end"))
    before = np.vstack([[-2.0, 3.0], center(asynchronous)[:-1]])
    expected = np.linalg.norm(end - start, axis=1) / 2 / (0.15 * np.linalg.norm(end - before, axis=1))
    np.testing.assert_allclose(ratio, expected, rtol=1e-3)
    assert conservation.equilibrium(asynchronous.drop(columns="exchange_sampled")).empty


def center(frame: pd.DataFrame) -> np.ndarray:
    """The center after each update, from the elastic differences: end − 0.15 (end − center)."""
    points, now = [], np.array([-2.0, 3.0])
    for end in frame[["end_x0", "end_x1"]].to_numpy():
        now = now + 0.15 * (end - now)
        points.append(now)
    return np.array(points)


def test_probes_add_up_and_do_not_vanish_where_sums_do() -> None:
    a, b = ({"w": weights} for weights in np.random.default_rng(0).normal(size=(2, 300, 10)).astype(np.float32))
    a = {"w": a["w"] - a["w"].mean()}  # as a softmax layer's weights, whose sum no gradient changes
    total = {"w": a["w"] + b["w"]}
    values = [float(probes.of_center(tree)["center_probe"]) for tree in (a, b, total)]
    assert values[0] + values[1] == pytest.approx(values[2], abs=1e-3)
    assert abs(values[0]) > 0.1
    moved = probes.of_window(a, total)
    assert float(moved["end_probe"] - moved["start_probe"]) == pytest.approx(values[1], abs=1e-3)
    np.testing.assert_allclose(moved["moved_sampled"], np.linalg.norm(np.ravel(b["w"])[::3]), rtol=1e-5)


def test_runs_without_probes_have_nothing_to_check() -> None:
    frame = pd.DataFrame({"update": [1], "worker": [0], "staleness": [0], "steps": [1]})
    assert conservation.drift(frame).empty
    assert conservation.violations(frame) == 0
