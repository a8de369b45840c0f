"""The reproduction of the thesis: its budget, its calculations, and that it goes on where it stopped."""

from pathlib import Path

import numpy as np
import pytest

from distopt.config import combine, validate
from scripts.thesis import analytic, methods, report
from scripts.thesis.failures import critical_gain
from scripts.thesis.studies import STUDIES, Study
from scripts.thesis.verdicts import Verdict, texts
from scripts.tools.runs import Runs, answers, carry_out, plan
from tests.marks import quick


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what is computed without runs."""
    for name, value in (("BEALE_STEPS", 200), ("BEALE_RUNS", 4), ("ROUNDS", 20)):
        monkeypatch.setattr(analytic, name, value)
    for function in (analytic.staleness, analytic.averaged_beale):
        function.cache_clear()


def test_the_studies_fit_into_an_hour_on_two_cores_with_room_to_spare() -> None:
    assert sum(study.core_seconds for study in STUDIES) < 0.75 * 2 * 3600
    assert len({study.name for study in STUDIES}) == len(STUDIES)


@pytest.mark.parametrize(
    "study", quick([study for study in STUDIES if "stability" not in study.name], STUDIES[:2]), ids=lambda s: s.name
)
def test_a_study_is_composed_as_planned(study: Study) -> None:
    swept = combine(study.sweep)
    assert len(swept) == study.runs
    only = validate(swept[-1].config)
    assert only["launcher"]["name"] == "sim"
    steps = (only["epochs"] or 0) * 60_000 / 32
    assert only["dataset"]["name"] == "none" or steps in {1171.875, 2343.75, 4687.5, 18750}


@pytest.mark.parametrize(("sharing", "stable"), [(1, True), (2, False), (40, False)])
def test_an_elastic_exchange_of_full_strength_is_stable_only_if_it_is_atomic(sharing: int, stable: bool) -> None:
    assert (analytic.exchange_radius(40, sharing, alpha=1.0, gain=0.1) < 1) is stable


@pytest.mark.parametrize("workers", [4, 10])
def test_a_shared_exchange_of_all_workers_is_synchronous_easgd(workers: int) -> None:
    """Its bound α ≤ (4 − 2a) / (2(n + 1) − na), a the gain, belongs to gradients taken before the exchange."""
    bound = 2 / (workers + 1)
    assert analytic.exchange_radius(workers, workers, 0.95 * bound, 1e-6) <= 1 + 1e-9
    assert analytic.exchange_radius(workers, workers, 1.05 * bound, 1e-6) > 1


def test_staleness_is_geometric_with_exponential_step_times_only(brief: None) -> None:
    shares = {law: analytic.staleness(10, law, 0) for law in ("deterministic", "exponential")}
    assert analytic.distance_to_geometric(shares["exponential"], 9) < 0.15
    assert analytic.distance_to_geometric(shares["deterministic"], 9) > 0.4
    exactly = 0.1 * 0.9 ** np.arange(300)
    assert analytic.distance_to_geometric(exactly, 9) == pytest.approx(0, abs=1e-12)


def test_finished_runs_are_found_and_not_repeated(tmp_path: Path) -> None:
    gains = "cluster.step.law=deterministic", "model.curvatures=[0.05,0.3]", "model.start=[1,1]"
    studies = [
        Study("direction", "direction", 1, 1, {"optimizer.window": (1, 100)}),
        Study(
            "gain", "stability", 1, 1, {}, ("workers=10", "stop.updates=400", "cluster.step.law=deterministic", *gains)
        ),
    ]
    groups = plan(studies, tmp_path)
    assert carry_out(groups, cores=1) == []
    folders = answers(groups, tmp_path)
    assert carry_out(groups, cores=1) == []
    assert answers(groups, tmp_path) == folders
    assert len(list(tmp_path.glob("*/run.json"))) == 3
    runs = Runs(groups, tmp_path)
    assert not runs.missing
    short, long = (methods.aim(run)[1] for run in runs.pick("direction"))
    assert long < short
    assert critical_gain(runs.pick("gain")[0]) == 0.05
    assert len(runs.table()) == 3


@pytest.mark.slow
def test_without_runs_nothing_that_needs_them_is_decided(tmp_path: Path, brief: None) -> None:
    claims = {claim.name: claim for claim in report.judge(Runs([], tmp_path))}
    assert list(claims) == sorted(texts(), key=lambda name: (name[0], int(name[1:])))
    analytical = {"D1", "D12", "D15", "D17"}  # have parts that are computed
    assert {claim.verdict for name, claim in claims.items() if name not in analytical} == {Verdict.OPEN}
    text = report.document(list(claims.values()), "no data", ["grid, seed 0"], ["staleness"])
    assert "1 planned runs are missing" in text
    assert text.count("**Verdict:") == len(claims)
    assert "figures/staleness.png" in text
    assert "figures/efficiency.png" not in text
