"""The study of all optimizers: its budget, its choices and its judgement, on runs that are made up."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distopt.config import combine, validate
from scripts.study import figures, report, tuning
from scripts.study.outcome import Outcome, judge
from scripts.study.sizes import CLUSTERS, FULL, REDUCED, Size, Trial, optimizers
from scripts.tools import folders
from scripts.tools.runs import Planned, Runs

SIZE = REDUCED._replace(workers=(2, 8), seeds=2, learning_rates=(0.001, 0.01), windows=(1, 5), target=0.5)
SLOPES = {"synchronous": 0.1, "agn": 0.2, "easgd": 0.02}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Runs whose accuracy grows in proportion to time: agn twice as fast as synchronous, easgd never to the target."""
    tmp_path, found = tmp_path_factory.mktemp("runs"), []
    for name, slope in SLOPES.items():
        for rate in SIZE.learning_rates:
            for window in SIZE.windows:
                for seed in range(2):
                    better = 0.9 if (rate, window) == (0.01, 1) else 0.5
                    found.append(
                        _run(tmp_path, f"tuning {name}", name, better * slope, rate, window, 16, "homogeneous", seed)
                    )
        for cluster, workers in SIZE.workloads:
            for seed in range(2):
                found.append(_run(tmp_path, f"comparison {name}", name, slope, 0.01, 1, workers, cluster, seed))
    made = Runs([], tmp_path)
    made._runs = found
    return made


def _run(
    folder: Path, part: str, name: str, slope: float, rate: float, window: int, workers: int, cluster: str, seed: int
):
    from distopt import load

    settings = folders.config(
        name,
        seed,
        workers,
        local={"name": "adam", "learning_rate": rate, "on_pull": "keep"},
        cluster={"name": cluster, "step": {"law": "gamma"}},
    )
    settings["optimizer"] |= {"window": window, "learning_rate": 0.7}  # diloco and others have a rate of their own
    time_s = np.linspace(0, 4, 9)
    evals = pd.DataFrame({"update": range(9), "time_s": time_s, "samples": 0, "split": "validation", "loss": 1.0})
    target = folder / f"{part}-{rate}-{window}-{workers}-{cluster}-{seed}"
    return part, load(folders.write(target, settings=settings, eval_rows=evals.assign(accuracy=slope * time_s)))


def test_every_optimizer_has_the_same_trials_and_the_best_mean_is_chosen(runs: Runs) -> None:
    chosen, table = tuning.choose(runs, [*SLOPES, "adag"], SIZE.trials)
    assert chosen == dict.fromkeys(SLOPES, Trial(0.01, 1))
    assert table.groupby("optimizer")["seeds"].sum().to_dict() == dict.fromkeys(SLOPES, 8) | {"adag": 0}
    assert table[table["chosen"]]["optimizer"].tolist() == list(SLOPES)


def test_the_judgement_is_that_of_the_curves(runs: Runs) -> None:
    found = judge(runs, SIZE, dict.fromkeys(SLOPES, Trial(0.01, 1)))
    rows = found.summary.set_index("optimizer")
    assert list(rows.index) == ["agn", "synchronous", "easgd"]
    assert rows["score"].to_dict() == pytest.approx({"agn": 1.0, "synchronous": 0.0, "easgd": 0.0})
    assert rows["reached_in"].to_dict() == {"agn": 6, "synchronous": 0, "easgd": 0}
    assert rows["efficiency"].to_dict() == pytest.approx({"agn": 2.0, "synchronous": 1.0, "easgd": 0.2})
    assert found.efficiency.shape == (3, len(CLUSTERS) * 2)
    assert len(found.cells) == 18


def test_it_is_written_with_figures(runs: Runs, tmp_path: Path) -> None:
    report.write(runs, SIZE, list(SLOPES), tmp_path / "results")
    text = (tmp_path / "results" / "report.md").read_text(encoding="utf-8")
    assert "| agn" in text
    assert all((tmp_path / "results" / "figures" / f"{name}.png").is_file() for name in report.TITLES)
    for name in report.TITLES:
        assert f"figures/{name}.png" in text


def test_without_runs_it_says_so(tmp_path: Path) -> None:
    config = {"optimizer": {"name": "agn"}, "model": {"name": "mlp"}, "dataset": {"name": "digits"}}
    planned = Planned("tuning agn", config, "0")
    found = report.write(Runs([[planned]], tmp_path), REDUCED, ["agn"], tmp_path / "results")
    assert isinstance(found, Outcome)
    text = (tmp_path / "results" / "report.md").read_text(encoding="utf-8")
    assert "1 planned runs are missing" in text
    assert figures.draw(found, REDUCED, tmp_path / "figures") == []


@pytest.mark.parametrize(("size", "hours"), [(FULL, 9), (REDUCED, 0.6)])
def test_it_fits_into_its_time_on_two_cores(size: Size, hours: float) -> None:
    count, seconds = size.cost(len(optimizers()))
    assert seconds < 2 * 3600 * hours
    parts = [*size.tuning(["agn"]), *size.comparison({"agn": size.trials[-1]})]
    assert count == len(optimizers()) * sum(len(combine(part.sweep)) for part in parts)


@pytest.mark.parametrize("size", [FULL, REDUCED])
def test_its_parts_are_composed_as_planned(size: Size) -> None:
    (trials,), (compared,) = size.tuning(["agn"]), size.comparison({"agn": size.trials[-1]})
    swept = combine(trials.sweep)
    assert len(swept) == len(size.trials) * size.tuning_seeds
    swept = combine(compared.sweep)
    assert len(swept) == len(size.workloads) * size.seeds
    last = validate(swept[-1].config)
    assert (last["workers"], last["cluster"]["name"], last["seed"]) == (max(size.workers), CLUSTERS[-1], size.seeds - 1)
    assert (last["local"]["learning_rate"], last["optimizer"]["window"]) == size.trials[-1]
