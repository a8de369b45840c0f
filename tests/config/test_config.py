"""The configuration: everything in conf/ composes, and every mistake is reported, all of them together."""

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from distopt.config import GROUPS, check_overrides, choices, compose, descriptions, fingerprint, validate
from distopt.errors import ConfigError
from tests.marks import quick

CHOICES = [(group, name) for group in GROUPS for name in choices(group)]
NEEDED = {"csv": ["dataset.file=x.csv"], "parquet": ["dataset.file=x.parquet"], "npz": ["dataset.file=x.npz"]}
NEEDED |= {"svmlight": ["dataset.file=x.svm"], "ratings": ["dataset.file=x.csv"]}
NEEDED |= {"text": ["dataset.file=x.txt", "model=gpt"], "pydoc": ["model=gpt"], "gpt": ["dataset=pydoc"]}
NEEDED |= {"tokens": ["dataset.file=x.bin", "model=gpt"], "austen": ["model=gpt"], "arrow": ["dataset.file=x"]}
NEEDED |= {"object": ["dataset.factory=a:b"]}
NEEDED |= {"linear": ["dataset=csv", "dataset.file=x.csv", "dataset.kind=numbers"]}
NEEDED |= {"replay": ["launcher.trace=x.csv"], "none": ["model=beale", "stop.updates=9"]}


def problems_of(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(compose(overrides))
    return caught.value.problems


@pytest.mark.parametrize(("group", "name"), CHOICES)
def test_every_file_in_conf_composes_and_is_explained(group: str, name: str) -> None:
    plain = validate(compose([f"{group}={name}", *NEEDED.get(name, [])]))
    if group != "experiment" and name != "mnist_or_fashion":  # which stands for one of the two
        assert plain[group]["name"] == name
    assert descriptions(group)[name]


def test_no_file_in_conf_is_forgotten() -> None:
    folder = Path(str(resources.files("distopt.conf")))
    files = [path.relative_to(folder).with_suffix("") for path in folder.glob("*/**/*.yaml")]
    found = {(path.parts[0], "/".join(path.parts[1:])) for path in files}
    assert found == set(CHOICES)


def test_the_result_is_plain(plain: dict[str, Any]) -> None:
    def visit(value: Any) -> None:
        assert type(value) in (dict, list, str, int, float, bool, type(None))
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            visit(item)

    visit(plain)
    assert "hydra" not in plain


@pytest.fixture
def plain() -> dict[str, Any]:
    return validate(compose())


def test_a_resolved_configuration_is_valid_again(plain: dict[str, Any]) -> None:
    assert validate(DictConfig(plain)) == plain


def test_unknown_names_are_reported_together_with_suggestions() -> None:
    with pytest.raises(ConfigError) as caught:
        check_overrides(
            ["optimizer=adagg", "model=cmn", "worker=3", "local.learning_rat=1", "stop.update=3", "dataset.root=x"]
        )
    wrong = {problem.partition(":")[0]: problem for problem in caught.value.problems}
    assert wrong.keys() == {
        "optimizer=adagg",
        "model=cmn",
        "worker",
        "local.learning_rat",
        "stop.update",
        "dataset.root",
    }
    for key, meant in (
        ("optimizer=adagg", "adag"),
        ("worker", "workers"),
        ("local.learning_rat", "local.learning_rate"),
    ):
        assert f"did you mean {meant}?" in wrong[key]
    assert "mlp_thesis" in wrong["model=cmn"]


def test_what_holds_nothing_yet_is_added_to() -> None:
    word = "dataset.arguments.size=5"
    told = r"^dataset\.arguments\.size: dataset\.arguments holds only what you add; write \+dataset\.arguments\.size=5$"
    with pytest.raises(ConfigError, match=told):
        check_overrides(["dataset=object", word])
    check_overrides(["dataset=object", f"+{word}"])


def test_names_inside_a_sweep_are_looked_at() -> None:
    with pytest.raises(ConfigError, match="agnn"):
        check_overrides(["optimizer=adag,agnn", "workers=1,2"])
    check_overrides(["optimizer=adag,agn", "optimizer.window=1,2", "seed=range(3)"])


def test_settings_are_looked_up_in_the_choice_made() -> None:
    check_overrides(["optimizer=easgd", "optimizer.rho=1"])
    with pytest.raises(ConfigError, match=r"optimizer\.gamma"):
        check_overrides(["optimizer=easgd", "optimizer.gamma=1"])


def test_unreadable_overrides_are_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be parsed"):
        check_overrides(["workers=["])


OUT_OF_RANGE = [
    *("workers=0", "workers=-1", "workers=2.5", "workers=two", "workers=true", "workers=null", "workers=99999999999"),
    *("epochs=0", "epochs=-1", "epochs=.nan", "epochs=.inf", "epochs=many", "batch_size=0", "batch_size=1.5"),
    *("seed=-1", "seed=1.5", "seed=null", "output=''", "output=null", "name=''", "name=a/b"),
    *("evaluate.points=0", "evaluate.every=0", "evaluate.every=0.5", "evaluate.samples=0", "stop.updates=0"),
    *("stop.seconds=0", "stop.seconds=-3", "stop.accuracy=0", "stop.accuracy=1.01", "stop.loss=low", "stop.loss=.nan"),
    *("optimizer.window=0", "optimizer.window=null", "optimizer.window=1.5", "local.learning_rate=0"),
    *("local.learning_rate=-1", "local.learning_rate=.inf", "local.b1=1.5", "local.eps=-1", "local.on_pull=maybe"),
    *("launcher.workers_per_actor=0", "launcher.gpus_per_actor=-1", "launcher.cpus_per_actor=0"),
    *("launcher.placement=NEAR", "launcher.object_store_bytes=1", "launcher.log_to_driver=7", "launcher.timeout=0"),
    *("cluster.step.seconds=0", "cluster.step.law=normal", "cluster.stragglers.chance=2", "dataset.partition=some"),
    *("dataset.alpha=0", "cluster.step.cv=0", "cluster.network.up.bytes_per_s=0"),
]


FIRST = {override.partition("=")[0]: override for override in reversed(OUT_OF_RANGE)}  # of each setting


@pytest.mark.parametrize("override", quick(OUT_OF_RANGE, FIRST.values()))
def test_values_out_of_range_are_refused(override: str) -> None:
    (problem,) = problems_of(override)
    key = override.partition("=")[0]
    assert key in problem
    assert len(problem) < 200


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["optimizer.gamma=0"], "gamma"),
        (["optimizer.gamma=small"], "gamma"),
        (["optimizer=easgd", "optimizer.rho=-1"], "rho"),
        (["optimizer=aeasgd", "optimizer.elastic_learning_rate=0"], "elastic_learning_rate"),
        (["local=momentum", "local.momentum=1.5"], "local.momentum"),
        (["optimizer=eamsgd", "local.on_pull=reset"], "set local.on_pull=keep"),
        (["launcher=sim", "launcher.width=0"], "launcher.width"),
        (["+foo=3"], "foo"),
        (["+stop.foo=3"], "stop.foo"),
        (["+launcher.foo=3"], "launcher.foo"),
        (["+optimizer.foo=3"], "foo"),
        (["+local.foo=3"], "foo"),
        (["+cluster.foo=3"], "cluster.foo"),
        (["+dataset.foo=3"], "foo"),
        (["~epochs"], "epochs is missing"),
        (["~stop.loss"], "stop.loss"),
        (["launcher=replay"], "launcher.trace is missing"),
        (["dataset=csv"], "dataset.file"),
    ],
)
def test_settings_that_do_not_belong_there_are_refused(overrides: list[str], key: str) -> None:
    (problem,) = problems_of(*overrides)
    assert key in problem


def test_states_that_do_not_say_where_a_worker_is_can_be_cleared() -> None:
    for name in ("easgd", "sandblaster"):
        validate(compose([f"optimizer={name}", "local.on_pull=reset"]))


def test_a_group_that_is_missing_is_named(plain: dict[str, Any]) -> None:
    for group in ("optimizer", "launcher", "stop"):
        with pytest.raises(ConfigError, match=f"{group} is missing"):
            validate(DictConfig({key: value for key, value in plain.items() if key != group}))


def test_all_mistakes_are_reported_together() -> None:
    overrides = ["workers=0", "batch_size=-1", "optimizer.gamma=-1", "cluster.step.seconds=0", "dataset.alpha=-1"]
    problems = problems_of(*overrides, "+foo=1")
    for key in ("workers=0", "batch_size=-1", "gamma=-1", "cluster.step.seconds=0", "dataset.alpha=-1", "foo"):
        assert sum(key in problem for problem in problems) == 1
    assert len(problems) == 6


@pytest.mark.parametrize(
    "overrides",
    [["dataset=none", "model=beale"], ["epochs=null"], ["dataset=none", "model=beale", "stop.accuracy=0.5"]],
)
def test_a_run_without_an_end_is_refused(overrides: list[str]) -> None:
    (problem,) = problems_of(*overrides)
    assert "stop.updates" in problem
    validate(compose([*overrides, "stop.updates=1"]))


def test_the_fingerprint_counts_what_decides_the_numbers(plain: dict[str, Any]) -> None:
    mark = fingerprint(plain)
    assert fingerprint(dict(reversed(list(plain.items())))) == mark
    assert fingerprint(plain | {"output": "elsewhere", "name": "other"}) == mark
    assert len({mark, fingerprint(plain | {"seed": 1}), fingerprint(validate(compose(["optimizer.gamma=1"])))}) == 3
