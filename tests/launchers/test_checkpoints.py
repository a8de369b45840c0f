"""A run that goes on from a checkpoint is the run that was never cut off, bit by bit."""

from collections.abc import Sequence
from typing import Any

import pytest

from distopt import config as configuration
from distopt.launchers import sim
from distopt.launchers.inprocess import loop
from distopt.launchers.inprocess.one_by_one import Single
from distopt.launchers.inprocess.vectorized.run import Batched
from distopt.records import Checkpoint, Watch
from distopt.training import experiment as experiments
from tests.marks import slow

FAILING = ["cluster.failures.mean_time_s=0.1", "cluster.failures.downtime_s=0.05", "cluster.step.law=exponential"]
SMALL = ["launcher=sim", "local=adam", "workers=5", "optimizer.window=3", "stop.updates=60", "evaluate.every=9"]
SMALL += ["checkpoint.every=7"]
BOOTH = ["model=booth", "dataset=none", "model.noise=1"]
Ended = tuple[list[Any], list[Any], list[tuple[int, int, Checkpoint]], Any]


def train(overrides: Sequence[str], start: Checkpoint | None = None) -> Ended:
    """Rows, evaluations, checkpoints with the number of rows before them, and the outcome."""
    config = configuration.validate(configuration.compose([*SMALL, *overrides]))
    training = sim.launch([experiments.build(config)._replace(start=start)], Watch(), lambda: False)
    commits: list[Any] = []
    evals: list[Any] = []
    taken = []
    for news in training:
        if news.outcome:
            return commits, evals, taken, news.outcome
        commits += news.commits
        evals += news.evals
        if held := news.checkpoint:  # its arrays are views of what training goes on to change
            copied = {name: array.copy() for name, array in held.arrays.items()}
            taken.append((len(commits), len(evals), held._replace(arrays=copied)))
    raise AssertionError("no outcome")


@pytest.mark.parametrize(
    ("engine", "overrides"),
    [
        (Single, ["optimizer=adag", *BOOTH, *FAILING]),
        slow(Single, ["optimizer=gem", *BOOTH, *FAILING]),
        slow(Single, ["optimizer=aeasgd", "optimizer.equilibrium=relative", *BOOTH, *FAILING]),
        slow(Single, ["optimizer=fedbuff", "optimizer.buffer=3", "compression=topk", "model=logistic"]),
        slow(Single, ["optimizer=zealous", "cluster.server.seconds=0.02", *BOOTH, *FAILING]),
        slow(Batched, ["optimizer=downpour", "optimizer.warm_start=10", *BOOTH, *FAILING]),
        slow(Single, ["optimizer=ssp", "optimizer.bound=0", *BOOTH, "cluster.step.law=exponential"]),
        (Batched, ["optimizer=aeasgd", *BOOTH, *FAILING]),
        slow(Batched, ["optimizer=downpour", "model=logistic", "stop.updates=null", "epochs=4"]),
    ],
)
def test_every_checkpoint_leads_to_the_same_end(
    engine: type, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[type] = []
    for kind in (Single, Batched):
        init = kind.__init__
        monkeypatch.setattr(kind, "__init__", lambda self, *a, k=kind, f=init: (used.append(k), f(self, *a))[1])
    overrides = [*overrides, f"launcher.width={1 if engine is Single else 4}"]
    commits, evals, taken, outcome = train(overrides)
    assert set(used) == {engine}
    assert len(taken) >= 3
    for rows, evaluated, start in (taken[0], taken[-2]):
        later, more, again, end = train(overrides, start)
        assert repr(later) == repr(commits[rows:])
        assert repr(more) == repr(evals[evaluated:])
        assert [held.update for _, _, held in again] == [
            held.update for *_, held in taken if held.update > start.update
        ]
        assert (end.status, end.reason, end.details) == (outcome.status, outcome.reason, outcome.details)
        assert all(end.center[name].tobytes() == array.tobytes() for name, array in outcome.center.items())


def test_checkpoints_change_nothing() -> None:
    for width in (1, 4):
        overrides = [*BOOTH, "optimizer=downpour", f"launcher.width={width}"]
        with_them, without = train(overrides), train([*overrides, "checkpoint.every=null"])
        assert with_them[2]
        assert not without[2]
        assert repr(with_them[:2]) == repr(without[:2])
        assert with_them[3].center["x"].tobytes() == without[3].center["x"].tobytes()


def test_a_checkpoint_that_becomes_due_while_news_are_written_lacks_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes between two questions: here the answer changes with each of them."""
    asked = iter(range(10**6))
    monkeypatch.setattr(loop.Due, "__call__", lambda self, version: next(asked) % 5 == 4)
    overrides = ["optimizer=adag", *BOOTH, "launcher.width=1"]
    _, _, taken, _ = train(overrides)
    assert len(taken) > 5
    assert [rows for rows, _, _ in taken] == [held.update for _, _, held in taken]
