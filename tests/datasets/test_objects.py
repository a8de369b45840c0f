"""Objects of somebody else: samples are stacked as they come, and refused by number."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distopt import datasets
from distopt.datasets import objects
from distopt.errors import ConfigError, DataError
from tests.datasets.test_own import load

RNG = np.random.default_rng(0)
X, CLASSES, NUMBERS = RNG.normal(size=(3000, 2, 3)), np.arange(3000) % 3, RNG.normal(size=3000)
SOURCE = """
class Rows(list):
    asked = 0

class Many(Rows):
    def __getitem__(self, i):
        raise NotImplementedError
    def __getitems__(self, numbers):
        Many.asked += 1
        return [list.__getitem__(self, i) for i in numbers]

class Few(Many):
    def __getitems__(self, numbers):
        return []

kept = []

def rows(kind="Rows", upto=None):
    return globals()[kind](kept[:upto])

def broken(**more):
    raise OSError("no such\\nplace")

endless = lambda: 5
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The samples that `somebodys_data:rows` returns."""
    (tmp_path / "somebodys_data.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "somebodys_data", raising=False)
    import somebodys_data

    return somebodys_data.kept  # type: ignore[no-any-return]


def made(**settings: Any) -> datasets.Dataset:
    return load("object", **{"factory": "somebodys_data:rows", "validation_fraction": 0.25, **settings})


@pytest.mark.parametrize("form", [tuple, list, lambda pair: {"x": pair[0], "y": pair[1], "id": 7}])
@pytest.mark.parametrize("kind", ["Rows", "Many"])
def test_samples_are_stacked(kept: list[Any], form: Any, kind: str) -> None:
    kept += [form(pair) for pair in zip(X, CLASSES, strict=True)]
    found = made(arguments={"kind": kind})
    assert (found.shape, found.size, len(found.validation[1]), found.classes) == ((2, 3), 2250, 750, 3)
    assert (found.train[0].dtype, found.train[1].dtype) == (np.float32, np.int32)
    together = np.concatenate([found.train[0], found.validation[0]])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(X.astype(np.float32), axis=0))
    rows = [np.flatnonzero((x == X.astype(np.float32)).all(axis=(1, 2)))[0] for x in found.train[0][:50]]
    np.testing.assert_array_equal(found.train[1][:50], CLASSES[rows])
    assert found.told[0] == "somebodys_data:rows: 3,000 samples of 2x3 numbers"
    assert found.told[1].startswith("dataset.factory=somebodys_data:rows: 3 classes: 0 (1,000)")


def test_many_are_asked_for_at_once(kept: list[Any]) -> None:
    import somebodys_data

    kept += zip(X, CLASSES, strict=True)
    made(arguments={"kind": "Many"})
    assert somebodys_data.Many.asked == -(-3000 // objects.TOGETHER)


def test_numbers_and_words_to_predict(kept: list[Any]) -> None:
    kept += zip(X[:, 0, 0], NUMBERS, strict=True)
    found = made(kind="numbers")
    assert (found.kind, found.shape) == ("numbers", (1,))
    assert abs(found.train[1].mean()) < 1e-6
    kept[:] = [(x, "owl" if i % 2 else "cat") for i, x in enumerate(X)]
    assert "2 classes: cat (1,500), owl (1,500)" in made().told[1]


def test_others_to_validate_on(kept: list[Any]) -> None:
    kept += zip(X, CLASSES, strict=True)
    found = made(validation_factory="somebodys_data:rows")
    assert (found.size, len(found.validation[1])) == (3000, 3000)
    assert "of dataset.validation_factory" in found.told[1]


@pytest.mark.parametrize(("dtype", "expected"), [(np.uint8, np.uint8), (np.int64, np.int32), (np.uint16, np.uint16)])
def test_tokens_are_blocks_of_which_the_last_are_held_out(kept: list[Any], dtype: Any, expected: Any) -> None:
    blocks = RNG.integers(256, size=(40, 9))
    blocks[3, 3] = 255
    kept += list(blocks.astype(dtype))
    found = made(kind="tokens")
    assert (found.kind, found.shape, found.classes, found.size) == ("tokens", (8,), 256, 30)
    assert found.train[0].dtype == expected
    np.testing.assert_array_equal(np.concatenate([found.train[0], found.validation[0]]), blocks)
    assert found.told == (
        "somebodys_data:rows: tokens 0 to 255; 30 blocks of 8 tokens to train on, the last 10 to validate on",
    )
    other = made(kind="tokens", validation_factory="somebodys_data:rows", vocabulary=300)
    assert (other.size, len(other.validation[0]), other.classes) == (40, 40, 300)
    with pytest.raises(DataError, match=r"holds the token 255, beyond dataset.vocabulary=200"):
        made(kind="tokens", vocabulary=200)


def test_the_same_samples_have_the_same_hash(kept: list[Any]) -> None:
    kept += zip(X, CLASSES, strict=True)
    one, again = made().content, made(arguments={"kind": "Many"}).content
    assert one == again is not None
    kept[5] = (X[5] + 1, CLASSES[5])
    assert made().content != one


SAMPLE = (np.zeros(3), 1)


@pytest.mark.parametrize(
    ("samples", "settings", "told"),
    [
        ([SAMPLE, SAMPLE, (np.zeros(4), 1)], {}, r"x of sample 2 has the shape \(4,\), that of sample 0 \(3,\)"),
        ([SAMPLE, np.zeros(3)], {}, r"sample 1 is float64 of shape \(3,\); return \(x, y\), or a mapping with x and y"),
        ([SAMPLE, (1, 2, 3)], {}, r"sample 1 is a tuple of 3; return"),
        ([SAMPLE, {"x": 1}], {}, r"sample 1 is a dict; return"),
        ([SAMPLE, None], {}, r"sample 1 is a NoneType; return"),
        ([SAMPLE, ("owl", 1)], {}, r"x of sample 1 is a str; return numbers$"),
        ([SAMPLE, ([[1], [1, 2]], 1)], {}, r"x of sample 1 is no array \(ValueError: setting an array element"),
        ([SAMPLE, (np.zeros(3), [1, 2])], {}, r"y of sample 1 is int64 of shape \(2,\); return one class or number"),
        ([SAMPLE, (np.zeros(3), "owl")], {}, r"y of sample 1 is 'owl', that of sample 0 1; text or not"),
        ([SAMPLE, (np.zeros(3), None)], {}, r"y of sample 1 is a NoneType; return numbers or text"),
        ([SAMPLE, (np.full(3, np.nan), 1)], {}, r"x: a value is missing or not finite in 1 samples, first in sample 1"),
        ([SAMPLE, SAMPLE], {}, "all labels are 1; at least two classes are needed"),
        ([], {}, "dataset.factory=somebodys_data:rows: holds no samples"),
        ([[1, 2], [1, 2, 3]], {"kind": "tokens"}, r"sample 1 has the shape \(3,\), that of sample 0 \(2,\)"),
        ([[1, 2], [1, -2]], {"kind": "tokens"}, "sample 1 holds the tokens -2 to 1; return 0 to 2147483646"),
        ([[1], [1]], {"kind": "tokens"}, "return the same number of tokens each time, at least 2"),
        ([[1.5, 2]], {"kind": "tokens"}, "sample 0 is a list of 2; return numbers"),
        ([[1, 2]] * 2, {"kind": "tokens"}, "dataset.validation_fraction=0.25: leaves no sample in one of the parts"),
        (
            [SAMPLE],
            {"arguments": {"kind": "Few"}},
            r"samples 0 to 0 cannot be read \(asked for 1, __getitems__ returned",
        ),
        ([SAMPLE], {"arguments": {"no": 1}}, r"cannot be made \(TypeError: rows\(\) got an unexpected keyword"),
        ([SAMPLE], {"factory": "somebodys_data:broken"}, r"broken: cannot be made \(OSError: no such\)$"),
        ([SAMPLE], {"factory": "somebodys_data:endless"}, r"endless: has no length \(TypeError: object of type 'int'"),
        ([SAMPLE], {"factory": "somebodys_data:kept"}, r"cannot be made \(TypeError: 'list' object is not callable"),
        ([SAMPLE], {"factory": "somebody"}, "dataset.factory=somebody: no such factory; name it as module:factory"),
        ([SAMPLE], {"factory": None}, "dataset.factory=null must be module:factory, or the name of an entry point"),
        ([SAMPLE], {"arguments": [1]}, r"dataset.arguments=\[1\] must be settings by name"),
        ([SAMPLE], {"kind": "pictures"}, "dataset.kind=pictures must be one of classes, numbers, tokens"),
    ],
)
def test_what_does_not_stack_is_named(kept: list[Any], samples: list[Any], settings: Any, told: str) -> None:
    kept += samples
    with pytest.raises(DataError, match=told) as error:
        made(**settings)
    assert len(str(error.value).splitlines()) == 1


def test_factories_that_are_not_there() -> None:
    for name in ("nobodys_data:rows", "json:rows"):
        with pytest.raises(ConfigError, match=rf"dataset.factory={name}: .*; install its package or put its folder on"):
            made(factory=name)
