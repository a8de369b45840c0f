"""Every end of a run leaves a folder that says how it ended; signals ask first and abort second."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distopt.config import compose
from distopt.errors import ConfigError, DistoptError
from distopt.launchers import sim
from distopt.records import Interrupted, News, Outcome, Watch
from distopt.runner import run as runner
from distopt.runner.run import Interrupt
from distopt.runs import results
from distopt.training.experiment import Experiment
from scripts.tools import folders


def launcher(end: BaseException | Outcome) -> SimpleNamespace:
    """A launcher that hands over some records and then ends in the given way."""

    def launch(experiments: list[Experiment], watch: Watch, interrupted: Interrupted) -> Iterator[News]:
        watch.enter("train")
        yield News(folders.commits(updates=9).to_dict("records"), folders.evals(points=2).to_dict("records"))
        if isinstance(end, BaseException):
            raise end
        yield News([], [], outcome=end)

    return SimpleNamespace(CLOCK="virtual", TOGETHER=False, check=lambda experiment: ["take care"], launch=launch)


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        (Outcome("done", None, None, {}), "done", None),
        (DistoptError("worker 3 died"), "failed", "worker 3 died"),
        (KeyboardInterrupt(), "interrupted", "aborted"),
    ],
)
def test_every_end_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException | Outcome, status: str, reason: str | None
) -> None:
    monkeypatch.setitem(sys.modules, "distopt.launchers.sim", launcher(end))
    run = runner.run(compose(["launcher=sim", f"output={tmp_path}"]), signals=True)
    assert (run.status, run.info["reason"], len(run.commits)) == (status, reason, 9)
    assert "take care" in run.info["warnings"]
    assert {"versions", "git", "host", "fingerprint"} <= run.info.keys()


def test_an_error_of_ours_leaves_a_folder_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distopt.launchers.sim", launcher(ZeroDivisionError("a mistake")))
    with pytest.raises(ZeroDivisionError):
        runner.run(compose(["launcher=sim", f"output={tmp_path}", "name=broken"]))
    assert results.load(tmp_path / "broken").status in ("running", "failed")


def test_a_mistake_in_the_configuration_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        runner.run(compose(["launcher=sim", f"output={tmp_path / 'results'}", "workers=0"]))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_aborts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interrupt(listens=True) as interrupted:
        assert not interrupted()
        signal.raise_signal(number)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is before


def test_a_center_that_is_not_finite_is_never_the_end_of_a_finished_run() -> None:
    center = {"w": np.ones(2), "b": np.array([1.0, np.nan])}
    ended = runner._sound(Outcome("stopped", "stop.updates=1 reached", center, {}))
    assert (ended.status, ended.reason) == ("diverged", "the final center is not finite in b")
    good = Outcome("stopped", None, {"w": np.ones(2)}, {})
    assert runner._sound(good) is good


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device", "results/x"), "results/x: No space left on device; make room"),
        (MemoryError(), "out of memory (MemoryError); take fewer samples"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."), "out of memory (Out of memory alloc"),
    ],
)
def test_what_the_machine_lacks_is_a_reason_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    monkeypatch.setattr(runner, "launcher_of", lambda config: launcher(error))
    run = runner.run(compose(["launcher=sim", "epochs=1", f"output={tmp_path}"]))
    assert (run.status, len(run.commits)) == ("failed", 9)
    assert run.info["reason"].startswith(told)


def test_runs_that_ended_before_another_failed_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for a single run at a time the second one fails."""
    train = sim.train

    def fails(experiment: Experiment, *others: Any) -> Iterator[News]:
        if experiment.seed == 1:
            raise DistoptError("something is wrong with seed 1")
        return (yield from train(experiment, *others))

    monkeypatch.setattr(sim, "train", fails)
    monkeypatch.setattr(sim, "ROOM_BYTES", 1)
    plain = ["launcher=sim", f"output={tmp_path}", "model=booth", "dataset=none", "epochs=null", "stop.updates=9"]
    first, second, third = runner.run_together([compose([*plain, f"seed={seed}"]) for seed in range(3)])
    assert (first.status, len(first.commits)) == ("stopped", 9)
    assert [(run.status, run.info["reason"]) for run in (second, third)] == [
        ("failed", "something is wrong with seed 1")
    ] * 2


def test_signals_are_the_callers_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    seen: list[Any] = []

    def interrupted_by_the_user(experiments: Any, watch: Watch, interrupted: Interrupted) -> Any:
        seen.append([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
        yield News([], [])
        raise KeyboardInterrupt

    monkeypatch.setattr(sim, "launch", interrupted_by_the_user)
    with pytest.raises(KeyboardInterrupt):
        runner.run(compose(["launcher=sim", f"output={tmp_path}", "name=a"]))
    assert seen == [handlers]
    assert results.load(tmp_path / "a").status == "interrupted"
    run = runner.run(compose(["launcher=sim", f"output={tmp_path}", "name=b"]), signals=True)
    assert run.status == "interrupted"
    assert not set(seen[1]) & set(handlers)
