"""From a configuration to an experiment: budgets, shards, warnings, and mistakes that only the parts together show."""

from typing import Any

import numpy as np
import pytest

from distopt.config import compose, validate
from distopt.errors import ConfigError
from distopt.training.budget import UNLIMITED
from distopt.training.experiment import Experiment, build


def experiment(*overrides: str) -> Experiment:
    return build(validate(compose(["launcher=sim", *overrides])))


def test_every_sample_belongs_to_one_worker() -> None:
    made = experiment("workers=7")
    assert sorted(np.concatenate(made.shards)) == list(range(made.train_samples or 0))


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_epochs_count_over_all_workers(workers: int) -> None:
    made = experiment(f"workers={workers}", "epochs=3", "batch_size=10")
    assert made.train_samples is not None
    drawn = made.budget.sum() * 10
    assert 3 * made.train_samples <= drawn < 3 * made.train_samples + 10 * workers
    assert made.limited


def test_updates_are_foreseen() -> None:
    alone = experiment("optimizer=agn", "workers=4", "epochs=10")
    assert alone.expected_updates == int(np.ceil(alone.budget / alone.window).sum())
    together = experiment("optimizer=easgd", "workers=4", "epochs=10")
    assert together.expected_updates == int(np.ceil(together.budget / together.window).max())
    whole = experiment("optimizer=backup", "workers=4", "epochs=10", "dataset.partition=dirichlet", "dataset.alpha=0.2")
    assert whole.expected_updates == sorted(whole.windows)[1]  # then 2 of 4 workers are left, and no quorum of 3
    assert experiment("optimizer=agn", "stop.updates=5").expected_updates == 5
    assert experiment("epochs=null", "stop.seconds=1").expected_updates is None


@pytest.mark.parametrize(("points", "every", "expected"), [(4, "null", 2), (1000, "null", 1), (4, "7", 7)])
def test_evaluations_are_spread_over_the_run(points: int, every: str, expected: int) -> None:
    made = experiment("stop.updates=8", f"evaluate.points={points}", f"evaluate.every={every}")
    assert made.evaluate_every == expected


def test_without_data_only_a_criterion_ends_the_run() -> None:
    made = experiment("model=beale", "dataset=none", "stop.updates=5")
    assert not made.limited
    assert (made.budget == UNLIMITED).all()
    assert made.parameters == 2
    assert made.train_samples is None


def test_the_sequential_baseline_uses_one_worker_and_says_so() -> None:
    made = experiment("optimizer=sequential", "workers=4")
    assert made.workers == 1
    assert any("1 of the 4 workers" in warning for warning in made.warnings())


def test_what_distorts_results_is_said() -> None:
    assert experiment("workers=2", "epochs=20").warnings() == []
    uneven = ["workers=4", "epochs=8", "dataset.partition=dirichlet", "dataset.alpha=0.2"]
    (warning,) = experiment("optimizer=averaging", *uneven).warnings()
    windows = experiment("optimizer=averaging", *uneven).windows
    assert f"{min(windows)} to {max(windows)} windows: the last {max(windows) - min(windows)} of" in warning
    for fair in ("optimizer=backup", f"stop.updates={min(windows)}"):
        assert experiment("optimizer=averaging", *uneven, fair).warnings() == []
    assert experiment("optimizer=averaging", "workers=4", "epochs=200").warnings() == []
    assert experiment("optimizer=adag", *uneven).warnings() == []
    assert any("fewer samples" in warning for warning in experiment("workers=2", "batch_size=1000").warnings())
    assert any("less than one window" in warning for warning in experiment("epochs=0.1").warnings())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["workers=1439"], "workers=1439"),
        (["model=mlp_thesis"], "28x28"),
        (["model=cnn", "dataset=none", "stop.updates=1"], "cnn"),
        (["model=beale"], "beale"),
        (["model.hidden=[0]"], "hidden"),
        (["model.dropout=1"], "dropout"),
        (["model=quadratic", "dataset=none", "stop.updates=1", "model.start=[1]"], "start"),
    ],
)
def test_parts_that_do_not_fit_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        experiment(*overrides)


def test_mistakes_of_several_parts_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        experiment("model=mlp_thesis", "workers=1439")
    assert len(caught.value.problems) == 2


def test_the_same_configuration_gives_the_same_shards_everywhere() -> None:
    def shards(*overrides: str) -> list[Any]:
        return [shard.tolist() for shard in experiment("dataset.partition=dirichlet", *overrides).shards]

    assert shards() == shards()
    assert shards() != shards("seed=1")


def test_budgets_in_steps_and_tokens_take_the_place_of_epochs() -> None:
    assert experiment("workers=3", "steps=17").budget.tolist() == [17, 17, 17]
    text = ["model=gpt", "dataset=pydoc", "dataset.context=64", "batch_size=16", "workers=3"]
    assert experiment(*text, "tokens=10000").budget.tolist() == [4, 4, 4]  # of 64 · 16 tokens each
    with pytest.raises(ConfigError, match="tokens=10: the data are no text; set epochs or steps"):
        experiment("tokens=10")


def test_labels_of_numbers_cannot_be_smoothed() -> None:
    with pytest.raises(ConfigError, match=r"label_smoothing=0\.1: the data have no classes"):
        experiment("model=booth", "dataset=none", "steps=3", "label_smoothing=0.1")
