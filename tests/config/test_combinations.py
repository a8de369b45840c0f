"""The configurations of a sweep are those that Hydra would compose one by one."""

from pathlib import Path

import pytest

from distopt.config import combine, compose
from distopt.errors import ConfigError

EXPERIMENT = """# @package _global_
# a question of one's own
defaults:
  - override /launcher: sim
workers: 3
hydra:
  sweeper:
    params:
      optimizer: agn,adag
      seed: 0,1
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder with an experiment and a cluster of one's own."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(EXPERIMENT)
    return str(tmp_path)


def test_each_combination_is_composed_as_if_it_were_alone() -> None:
    given = ["optimizer=easgd,agn", "seed=range(2)", "local.learning_rate=0.1", "model.hidden=[8],[4,4]", "name='a,b'"]
    found = combine([*given, "launcher=sim"])
    assert len(found) == 8
    assert [run.config.seed for run in found[:4]] == [0, 0, 1, 1]
    for run in found:
        assert run.config == compose(run.words)


def test_the_words_of_a_combination_have_one_value_each() -> None:
    found = combine(["workers=3", "optimizer=agn,adag", "optimizer.window=choice(5,9)"])
    words = [
        ("workers=3", f"optimizer={name}", f"optimizer.window={window}")
        for name in ("agn", "adag")
        for window in (5, 9)
    ]
    assert [run.words for run in found] == words


def test_seeds_are_combinations_too() -> None:
    found = combine(["optimizer=agn,adag", "seeds=[4,7]"])
    assert [(run.config.optimizer.name, run.config.seed) for run in found] == [
        *(("agn", 4), ("agn", 7), ("adag", 4), ("adag", 7))
    ]
    assert found[0].words[-1] == "seed=4"
    assert len(combine(["seeds=[4,7]"], multirun=False)) == 2


def test_a_setting_that_only_some_choices_have_is_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.gamma=1 with optimizer=agn"):
        combine(["optimizer=adag,agn", "optimizer.gamma=1,2"])


def test_several_values_need_a_sweep() -> None:
    with pytest.raises(ConfigError, match="several values are several runs"):
        combine(["seed=0,1"], multirun=False)
    assert len(combine(["seed=0,1", "hydra.mode=MULTIRUN"], multirun=False)) == 2


def test_an_experiment_says_what_is_swept_and_the_command_line_goes_first(folder: str) -> None:
    found = combine(["experiment=mine", "seed=5,6,7"], folder)
    assert [run.config.seed for run in found] == [5, 6, 7] * 2
    assert {(run.config.workers, run.config.launcher.name) for run in found} == {(3, "sim")}
    assert len(combine(["experiment=mine"], folder)) == 4


def test_a_folder_of_ones_own_is_checked_as_the_packaged_files_are(folder: str) -> None:
    with pytest.raises(ConfigError, match=r"minee: no such choice; did you mean mine\?"):
        combine(["experiment=minee"], folder)
    with pytest.raises(ConfigError, match="no such folder"):
        combine([], f"{folder}/nowhere")
    (Path(folder) / "cluster").mkdir()
    (Path(folder) / "cluster" / "wan.yaml").write_text("name: wan\n")
    with pytest.raises(ConfigError, match="rename the file"):
        combine(["cluster=wan"], folder)


@pytest.mark.parametrize(
    "overrides",
    [
        ["workers=range(1000000)"],
        ["seed=shuffle(range(100000000000))"],
        ["workers=range(1,1000)", "seed=range(100)"],
        ["optimizer.window=range(0,1e6,1e-4)"],
    ],
)
def test_sweeps_that_nobody_can_mean_are_refused_at_once(overrides: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"more than 10,000 runs"):
        combine(overrides)
