"""Hashes of files and arrays: equal for equal content, and for nothing else."""

import os
from pathlib import Path

import numpy as np
import pytest

from distopt.datasets.blocks import Blocks
from distopt.files import digest

VALUES = np.arange(600, dtype=np.int32).reshape(100, 6)


def test_arrays_count_by_their_values_type_and_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = digest.of_arrays([VALUES])
    same = [VALUES.copy(), np.asfortranarray(VALUES), VALUES.astype(">i4")]
    assert {digest.of_arrays([each]) for each in same} == {mark}
    others = [VALUES.astype(np.int64), VALUES.reshape(50, 12), VALUES[::-1], VALUES.astype("U3")]
    assert len({mark, *(digest.of_arrays([each]) for each in others)}) == 1 + len(others)
    monkeypatch.setattr(digest, "CHUNK", 100)
    assert digest.of_arrays([VALUES]) == mark


def test_what_is_read_like_an_array_counts_like_it() -> None:
    blocks = Blocks(np.arange(300, dtype=np.uint16), 7)
    assert digest.of_arrays([blocks]) == digest.of_arrays([blocks[:]])
    assert digest.of_arrays([np.empty((0, 3))]) != digest.of_arrays([np.empty((0, 4))])


def test_a_file_that_changes_is_hashed_anew(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"one")
    mark = digest.of_file(file)
    file.write_bytes(b"two")
    os.utime(file, ns=(1, 1))
    assert digest.of_file(file) != mark
    with pytest.raises(FileNotFoundError):
        digest.of_file(tmp_path / "nowhere")
