"""Texts: the bytes of a file, in blocks of which the last are held out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distopt import datasets
from distopt.errors import DataError
from tests.datasets.test_own import load

SETTINGS = {"context": 4, "validation_fraction": 0.25}


def text(folder: Path, content: bytes, **settings: Any) -> datasets.Dataset:
    (folder / "t.txt").write_bytes(content)
    return load("text", file=str(folder / "t.txt"), **{**SETTINGS, **settings})


def test_every_byte_is_predicted_once_and_the_end_is_held_out(tmp_path: Path) -> None:
    content = bytes(range(34))
    found = text(tmp_path, content)
    blocks = np.concatenate([found.train[0][:], found.validation[0][:]])
    assert (found.size, len(found.validation[0]), found.shape, found.classes) == (6, 2, (4,), 256)
    assert blocks[:, 1:].ravel().tolist() == list(range(1, 33))
    assert blocks[:, 0].tolist() == list(range(0, 32, 4))
    assert found.told == (
        f"{tmp_path / 't.txt'}: 34 bytes, 34 different ones; 6 blocks of 4 bytes to train on, "
        "the last 2 to validate on",
    )


def test_bytes_are_not_decoded(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfa\r\n\xff\x00" * 5
    found = text(tmp_path, content)
    assert found.train[0].dtype == np.uint8
    assert found.train[0][0].tolist() == list(content[:5])


@pytest.mark.parametrize(
    ("content", "settings", "told"),
    [
        (b"", {}, "has 0 bytes, too few for a block of 4 tokens to train on and one to validate on"),
        (b"abcdefgh", {}, "has 8 bytes, too few"),
        (b"abcdefgh" * 9, {"context": 100}, "dataset.context=100: .* has 72 bytes, too few for a block of 100 tokens"),
        (b"abcdefgh" * 9, {"context": 0}, "dataset.context=0 must be a whole number >= 1"),
        (
            b"abcdefgh" * 9,
            {"partition": "label"},
            "partition=label: text has no labels; choose iid, contiguous or shared",
        ),
    ],
)
def test_texts_that_cannot_be_cut(tmp_path: Path, content: bytes, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        text(tmp_path, content, **settings)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"dataset\.file=nowhere: no such file"):
        load("text", file="nowhere", **SETTINGS)


def test_the_help_of_python_is_a_text() -> None:
    found = load("pydoc", **SETTINGS | {"context": 64})
    assert found.size > 4000
    assert found.content == load("pydoc", **SETTINGS).content  # of the text, however it is cut
    assert b"expression" in found.train[0][:][:, 1:].tobytes()
