"""The packaged experiments: each composes with all it sweeps, and its smallest version runs."""

from pathlib import Path

import pytest

import distopt
from distopt import config as configuration
from distopt import datasets
from distopt.config import choices, combine, compose, validate
from distopt.config.resolvers import first_found
from tests.marks import quick, slow

EXPERIMENTS = choices("experiment")
TINY = ["epochs=0.1", "evaluate.points=1"]
SMALL_DATA = ["dataset=digits", "model=logistic", "batch_size=32"]


def smallest(name: str) -> list[str]:
    data = compose([f"experiment={name}"]).dataset
    analytic = data.name == "none"
    if "context" in data:  # a text
        return [f"experiment={name}", "tokens=20000", "evaluate.points=1"]
    if name.startswith("distillation"):
        return [f"experiment={name}", "teacher=null", *TINY]
    return [f"experiment={name}", *(["stop.updates=2"] if analytic else [*SMALL_DATA, *TINY])]


def test_there_are_the_experiments_that_the_documentation_names() -> None:
    assert {"compare", "scaling", "grid", "stragglers", "bandwidth"} <= set(EXPERIMENTS)
    assert sum(name.startswith("thesis/") for name in EXPERIMENTS) >= 13


@pytest.mark.parametrize("name", quick(EXPERIMENTS, ["compare", "thesis/grid"]))
def test_the_smallest_version_runs(name: str, tmp_path: Path) -> None:
    run = distopt.run([*smallest(name), f"output={tmp_path}"])
    assert run.finished
    assert run.info["clock"] == "virtual"
    assert run.summary["updates"] > 0


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_says_what_it_answers_and_how_long_it_takes(name: str) -> None:
    text = (Path(configuration.__file__).parents[2] / "conf" / "experiment" / f"{name}.yaml").read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert any(word in " ".join(comments) for word in ("second", "minute", " s per "))
    assert "?" in comments[1] or name == "thesis/setup"


@pytest.mark.parametrize("name", ["bandwidth", slow("stragglers"), slow("thesis/grid"), slow("thesis/learning_rate")])
def test_what_an_experiment_sweeps_is_valid_at_both_ends(name: str) -> None:
    swept = combine([f"experiment={name}", "seed=0,1"])
    assert len(swept) >= 42
    for combination in (swept[0], swept[-1]):
        assert validate(combination.config)["launcher"]["name"] == "sim"
    assert [swept[0].config.seed, swept[-1].config.seed] == [0, 1]


def test_compare_takes_every_optimizer() -> None:
    swept = combine(["experiment=compare", "seed=0,1"])
    assert [c.config.optimizer.name for c in swept[::2]] == list(choices("optimizer"))


def test_the_command_line_wins_over_what_an_experiment_sweeps() -> None:
    swept = combine(["experiment=grid", "workers=3", "optimizer=agn", "optimizer.window=5,7"])
    assert [(c.config.workers, c.config.optimizer.name, c.config.optimizer.window) for c in swept] == [
        (3, "agn", 5),
        (3, "agn", 7),
    ]


def test_the_first_data_set_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "found", lambda: {"mnist": "/data", "fashion_mnist": "/usr"})
    assert first_found("mnist", "fashion_mnist") == "mnist"
    assert validate(compose(["dataset=mnist_or_fashion"]))["dataset"]["name"] == "mnist"
    monkeypatch.setattr(datasets, "found", lambda: {"mnist": None, "fashion_mnist": "/usr"})
    assert validate(compose(["dataset=mnist_or_fashion"]))["dataset"]["name"] == "fashion_mnist"
    monkeypatch.setattr(datasets, "found", lambda: {"mnist": None, "fashion_mnist": None})
    assert first_found("mnist", "fashion_mnist") == "fashion_mnist"


def test_an_experiment_of_experiments_begins_with_the_teachers() -> None:
    swept = combine(["experiment=distillation", "seed=0,1", "output=here"])
    parts = [(c.config.optimizer.name, c.config.name, c.config.teacher) for c in swept[::2]]
    teacher = "ensemble-mlp-digits-s0"
    assert parts == [("ensemble", teacher, None), ("synchronous", None, f"here/{teacher}"), ("synchronous", None, None)]
    assert [c.config.seed for c in swept] == [0, 1] * 3
