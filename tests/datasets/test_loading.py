"""The registry, the settings and the data that come with the installation."""

from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
import yaml

from distopt import datasets
from distopt.datasets import digits
from distopt.datasets.dataset import stratified
from distopt.datasets.settings import KEYS
from distopt.errors import DataError

CONF = Path(__file__).parents[2] / "conf" / "dataset"
OWN = {"npz", "csv", "parquet", "arrow", "svmlight", "ratings", "text", "tokens"}


def test_every_data_set_has_a_description_and_a_configuration() -> None:
    files = {file.stem for file in CONF.glob("*.yaml")}
    assert files - {"mnist_or_fashion"} == set(datasets.NAMES) == set(KEYS)


@pytest.mark.parametrize("name", datasets.NAMES)
def test_configuration_is_valid_as_shipped(name: str) -> None:
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert settings.keys() == {"name", *KEYS[name]}
    expected = ["dataset.file=null must be the path of a file"] if name in OWN else []
    if name == "object":
        expected = ["dataset.factory=null must be module:factory, or the name of an entry point"]
    assert datasets.check_settings(settings) == expected


def test_all_problems_are_reported_together() -> None:
    settings = {"name": "csv", "file": 3, "label": "y", "features": ["y"], "alpha": -1, "partition": "odd", "rot": "/"}
    with pytest.raises(DataError) as error:
        datasets.load(settings)
    told = error.value.problems
    assert len(told) == 5
    for part in ("dataset.file=3", "also one of dataset.features", "alpha=-1", "partition=odd", "dataset.rot: unknown"):
        assert any(part in problem for problem in told)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("digits", "alpha", 0),
        ("digits", "alpha", float("nan")),
        ("digits", "alpha", True),
        ("digits", "partition", None),
        ("mnist", "root", 7),
        ("mnist", "download", "maybe"),
        ("csv", "validation_fraction", 1.0),
        ("csv", "features", "a"),
        ("csv", "features", ["a", "a"]),
        ("csv", "features", []),
        ("npz", "validation_x", "x"),
    ],
)
def test_settings_that_make_no_sense(name: str, key: str, value: object) -> None:
    problems = datasets.check_settings({"name": name, **({"file": "f"} if name in OWN else {}), key: value})
    assert len(problems) == 1
    assert f"dataset.{key}" in problems[0]


def test_unknown_data_set_lists_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"dataset.name=mnits: unknown.*fashion_mnist"):
        datasets.load({"name": "mnits"})


def test_none_loads_nothing() -> None:
    assert datasets.load({"name": "none"}) is None


def test_digits_are_those_of_scikit_learn() -> None:
    loaded = datasets.load({"name": "digits"})
    assert loaded is not None
    assert (loaded.shape, loaded.size, len(loaded.validation[1]), loaded.classes) == ((8, 8), 1438, 359, 10)
    assert (loaded.train[0].dtype, loaded.train[1].dtype) == (np.float32, np.int32)
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    together = np.concatenate([loaded.train[0], loaded.validation[0]]).reshape(1797, 64) * 16
    assert sorted(map(tuple, together)) == sorted(map(tuple, images))
    shares = np.bincount(loaded.validation[1]) / np.bincount(labels)
    assert np.all(np.abs(shares - 0.2) < 0.01)


def test_digits_without_the_packaged_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = digits.load({})

    class Elsewhere:
        def locate_file(self, path: str) -> Path:
            return tmp_path / path

    monkeypatch.setattr(digits, "distribution", lambda name: Elsewhere())
    found = digits.load({})
    assert all(map(np.array_equal, (*found.train, *found.validation), (*expected.train, *expected.validation)))


def test_stratified_split_is_fixed_disjoint_and_even() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    kept, held_out = stratified(labels, 0.3)
    assert np.array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(100))
    assert np.all(np.abs(np.bincount(labels[held_out]) - [15, 9, 6]) <= 1)
    assert np.array_equal(held_out, stratified(labels, 0.3)[1])
    assert not np.array_equal(held_out, np.arange(30))


def test_found_names_places_and_downloads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISTOPT_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: pytest.fail("asked the network"))
    assert datasets.found()["mnist"] is None
    (tmp_path / "mnist").mkdir()
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (tmp_path / "mnist" / f"{part}-ubyte.gz").touch()
    assert datasets.found()["mnist"] == str(tmp_path / "mnist")
    assert datasets.found()["digits"] == "scikit-learn"


def test_few_of_the_digits_may_be_left_to_learn_from() -> None:
    few = datasets.load({"name": "digits", "validation_fraction": 0.833})
    assert few
    assert (few.size, len(few.validation[0])) == (301, 1496)
    assert np.bincount(few.train[1]).min() >= 28
    assert datasets.size({"name": "digits", "validation_fraction": 0.833}) == datasets.Size(301, (8, 8), 10)
    with pytest.raises(DataError, match=r"validation_fraction=0\.0001: leaves none of 1,797 samples to validate on"):
        datasets.load({"name": "digits", "validation_fraction": 0.0001})
