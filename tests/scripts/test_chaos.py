"""The short form of `make chaos`: two disturbed runs on real processes, and how their accounts are made."""

import random
from pathlib import Path

import numpy as np
import pytest

import distopt
from distopt.runs.results import load
from scripts.chaos.account import Account, account, interval
from scripts.chaos.disturb import disturbed, plan
from scripts.chaos.page import summary, write
from tests.marks import slow

TASK = [
    "launcher=ray",
    "workers=4",
    "launcher.workers_per_actor=2",
    "batch_size=128",
    "epochs=800",
    "evaluate.points=1",
]


@pytest.mark.ray
@pytest.mark.parametrize(("optimizer", "loss"), [("adag", "continue"), slow("easgd", "replace")])
def test_a_disturbed_run_applies_every_commit_once(tmp_path: Path, optimizer: str, loss: str) -> None:
    faults = plan(random.Random(1), kills=1, stops=1)
    overrides = [*TASK, f"optimizer={optimizer}", f"launcher.on_worker_loss={loss}"]
    folder, done = disturbed(tmp_path / "chaos", overrides, seed=1, faults=faults, commits=448)
    found = account(folder, done)
    assert "worker killed" in done
    assert (found.duplicated, found.lost, found.identical) == (0, 0, True)
    assert found.calls >= found.applied > 100
    assert sum(found.faults.values()) > len(done)
    run = load(folder)
    expected = {"lost", "orphaned", "taken over"} if loss == "continue" else {"lost", "replaced"}
    assert expected <= set(run.events["kind"])
    assert run.events.loc[run.events["kind"] == "lost", "worker"].tolist() in ([0, 1], [2, 3])
    assert (len(found.away_s) > 0) == (loss == "replace")
    assert run.events.loc[run.events["kind"] == "replaced", "kept"].eq(1).all(), "the local optimizers began anew"
    for name in ("first", "second"):  # the second is one of the first
        trace = [f"launcher.trace={folder}", "launcher=replay", f"output={tmp_path}", f"name={name}"]
        folder = distopt.run([*trace, *TASK[1:2], *TASK[3:], f"optimizer={optimizer}"]).folder
    centers = [np.load(tmp_path / name / "model.npz") for name in ("first", "second")]
    assert all((centers[0][name] == centers[1][name]).all() for name in centers[0].files)


def test_the_plan_is_that_of_its_seed() -> None:
    first, same, other = (plan(random.Random(seed), kills=2, stops=3) for seed in (1, 1, 2))
    assert first == same != other
    assert sorted(fault.kind for fault in first) == ["worker killed"] * 2 + ["worker stopped"] * 3
    assert all(0.05 <= fault.after <= 0.5 for fault in first)


def test_the_interval_holds_one_more_run_of_the_same_kind() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        *known, one_more = rng.normal(0.9, 0.02, size=6)
        low, high = interval(known, samples=10**6)
        inside += low <= one_more <= high
    assert 930 < inside < 970
    assert interval([0.9, 0.9, 0.9], samples=200) == pytest.approx((0.89, 0.91))


def test_the_page_says_what_was_found_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- chaos -->\nold\n<!-- /chaos -->\nbelow\n")
    good = Account(
        "adag", "replace", {"worker killed": 2, "call: late": 3}, 110, 100, 0, 0, True, 0.9, (0.8, 1), (5.0,)
    )
    bad = good._replace(name="easgd", duplicated=1, identical=False, accuracy=0.5, away_s=())
    write([good, bad], page)
    text = page.read_text()
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "old" not in text
    assert "1 applied twice, 0 lost" in text
    assert "1 of 2 runs as accurate" in text
    assert "| easgd | replace | 2 | 3 | 110 | 100 | 1 | 0 | different | 0.500 | 0.800 | 1 |  |" in text
    assert summary([good])[0] == "1 runs, 5 faults (3 call: late, 2 worker killed)"
