"""Every optimizer: the shipped contract suite, and short runs on real data. A new optimizer is a new row."""

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest
from omegaconf import OmegaConf

import distopt
from distopt import config, optimizers
from distopt.optimizers import GIVEN, LAUNCHER_SETTINGS
from distopt.runs.results import Run
from distopt.testing import check

#: optimizer -> settings that suit three workers on small problems, besides those of its YAML
TABLE: dict[str, dict[str, Any]] = {
    "sequential": {},
    "synchronous": {},
    "averaging": {},
    "easgd": {"elastic_learning_rate": 0.02},
    "downpour": {},
    "zealous": {},
    "dynsgd": {},
    "aeasgd": {"elastic_learning_rate": 0.02, "equilibrium": "relative"},
    "agn": {},
    "adag": {"gamma": 1e-3},
    "eamsgd": {"elastic_learning_rate": 0.02, "momentum": 0.5},
    "fedopt": {},
    "slowmo": {},
    "diloco": {},
    "async_diloco": {"dynamic": True},
    "post_local": {"warmup": 2},
    "delay_adaptive": {},
    "softsync": {},
    "dcasgd": {},
    "gap_aware": {},
    "dana": {"momentum": 0.5},
    "fedasync": {},
    "fedbuff": {"buffer": 2},
    "rennala": {},
    "ringmaster": {},
    "gem": {},
    "hogwild": {},
    "ssp": {"bound": 1},
    "backup": {},
    "omnivore": {"momentum": -0.2},
    "ensemble": {},
    "sandblaster": {"portions": 3},
}


@cache
def from_yaml(name: str) -> dict[str, Any]:
    settings: Any = OmegaConf.to_container(config.compose([f"optimizer={name}"])["optimizer"])
    return settings


def test_every_optimizer_has_a_row() -> None:
    assert set(TABLE) == set(config.choices("optimizer"))


@pytest.mark.parametrize("name", TABLE)
def test_contract(name: str) -> None:
    check(optimizers.factory(name), **from_yaml(name) | TABLE[name])


@pytest.mark.parametrize("name", TABLE)
def test_yaml_has_the_settings_of_the_factory(name: str) -> None:
    parameters = set(inspect.signature(optimizers.factory(name)).parameters)
    assert set(from_yaml(name)) == parameters - GIVEN | LAUNCHER_SETTINGS


@pytest.mark.parametrize("name", TABLE)
def test_it_says_what_it_commits(name: str) -> None:
    assert optimizers.build(from_yaml(name), optax.identity(), workers=3).worker.sends is not None


def tried(name: str) -> Any:
    """Runs take seconds: some kinds of rule are quick, and those who read the same runs do so in one process."""
    marks = [pytest.mark.xdist_group(f"runs of {name}")]
    return pytest.param(
        name, marks=marks if name in ("easgd", "adag", "rennala", "gem") else [*marks, pytest.mark.slow]
    )


@pytest.fixture(scope="module", params=[tried(name) for name in TABLE])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """An optimizer's runs with the seeds 0, 0 and 1: some four hundred samples per worker on the digits."""
    name, output = request.param, tmp_path_factory.mktemp(request.param)
    overrides = ["launcher=sim", "model=logistic", "local=sgd", "local.learning_rate=0.3", f"output={output}"]
    settings = config.validate(config.compose([*overrides, "workers=3", "epochs=1", "evaluate.points=1"]))
    settings["optimizer"] = from_yaml(name) | TABLE[name] | {"window": 3}
    return [distopt.run(settings | {"seed": seed}) for seed in (0, 0, 1)]


def center(run: Run) -> dict[str, bytes]:
    with np.load(Path(run.folder) / "model.npz") as arrays:
        return {key: array.tobytes() for key, array in arrays.items()}


def test_loss_falls_on_digits(runs: list[Run]) -> None:
    for run in runs:
        loss = run.evals.loc[run.evals["split"] == "validation", "loss"].to_numpy()
        assert run.status == "done"
        assert loss[-1] < 0.95 * loss[0]


def test_the_seed_decides_every_bit(runs: list[Run]) -> None:
    first, again, other = runs
    assert center(first) == center(again)
    assert center(first) != center(other)
    assert first.commits.equals(again.commits)


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("adag", {"gamma": 0}, "gamma=0"),
        ("adag", {"gamma": "much"}, "gamma=much"),
        ("adag", {}, "gamma"),
        ("easgd", {"rho": -1.0, "elastic_learning_rate": 0.1}, "rho=-1"),
        ("aeasgd", {"rho": 1.0, "elastic_learning_rate": float("nan")}, "elastic_learning_rate=nan"),
        ("agn", {"gamma": 1.0}, "gamma"),
        ("agn", {"commit": "sum"}, "commit=sum must be one of delta, gradient"),
        ("downpour", {"server": {"name": "adagrad"}}, "learning_rate"),
        ("downpour", {"server": {"name": "adagrade", "learning_rate": 0.1}}, "server.name=adagrade"),
        ("dynsgd", {"weighting": "none"}, "delay_plus_one"),
        ("downpour", {"warm_start": -1}, "warm_start=-1 must be a whole number >= 0"),
        (
            "easgd",
            {"rho": 0, "elastic_learning_rate": 0.1, "equilibrium": "relative"},
            "equilibrium=relative needs rho",
        ),
        ("post_local", {"warmup": 1.5}, "warmup=1.5"),
        ("zealous", {"explore": 1}, "explore=1 must be true or false"),
        ("eamsgd", {"rho": 1, "elastic_learning_rate": 1, "momentum": 1, "synchronous": True}, "momentum=1 .* < 1"),
        ("fedasync", {"mixing": 1.5, "weighting": "constant", "exponent": 1, "hinge": 1}, "mixing=1.5 .* <= 1"),
        ("fedbuff", {"buffer": 2.5, "learning_rate": 1, "exponent": 0}, "buffer=2.5 must be a whole number"),
        ("fedopt", {"server": {"name": "adam"}}, "learning_rate"),
        ("ringmaster", {"threshold": 0}, "threshold=0 must be a whole number >= 1 or null"),
        ("adagrad", {}, "distopt list optimizers"),
    ],
)
def test_senseless_settings_are_refused(name: str, settings: dict[str, Any], word: str) -> None:
    from distopt import local
    from distopt.errors import ConfigError

    sgd = local.build({"name": "sgd", "learning_rate": 0.1})
    with pytest.raises(ConfigError, match=word):
        optimizers.build({"name": name, "window": 1, **settings}, sgd)
