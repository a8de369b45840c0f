"""Blocks: what NumPy would give for rows of the whole array, without making it."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distopt.datasets.blocks import SEPARATOR, Blocks, Weights
from distopt.datasets.mapped import Mapped
from distopt.errors import DataError

TOKENS = np.random.default_rng(0).integers(4, size=203).astype(np.uint16)
WHOLE = np.stack([TOKENS[i * 8 : i * 8 + 9] for i in range(25)])
ROWS = [
    slice(None), slice(3, 7), slice(-4, None), slice(7, 3), slice(1, 20, 3), slice(24, 90), slice(None, None, -1), 5,
    -1, [], [[3, 0], [24, 24]], np.array([2, -25], np.int32),
]  # fmt: skip


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("first", [0, 4])
def test_rows_are_those_of_the_whole_array(rows: Any, first: int) -> None:
    blocks, weights = (kind(TOKENS, 8, first, 25 - first) for kind in (Blocks, Weights))
    whole = WHOLE[first:]
    rows = np.clip(rows, -len(whole), len(whole) - 1) if not isinstance(rows, slice) else rows
    rows = rows if isinstance(rows, slice) else np.asarray(rows, np.int64)
    np.testing.assert_array_equal(blocks[rows], whole[rows])
    np.testing.assert_array_equal(weights[rows], (whole[:, :-1] != SEPARATOR)[rows])
    assert (blocks[rows].dtype, weights[rows].dtype) == (np.uint16, np.uint8)


def test_it_has_the_properties_of_the_whole_array() -> None:
    for found, whole in ((Blocks(TOKENS, 8), WHOLE), (Weights(TOKENS, 8), WHOLE[:, 1:].astype(np.uint8))):
        for name in ("shape", "dtype", "ndim", "size", "nbytes"):
            assert getattr(found, name) == getattr(whole, name)
        assert len(found) == len(whole)


@pytest.mark.parametrize("rows", [25, -26, [0, 25], 1.5, np.array([True, False])], ids=str)
def test_rows_that_are_not_there(rows: Any) -> None:
    with pytest.raises(IndexError):
        Blocks(TOKENS, 8)[rows]


@pytest.mark.parametrize(("first", "count"), [(0, 26), (20, 6), (26, None), (0, -1)])
def test_blocks_that_are_not_there(first: int, count: int | None) -> None:
    with pytest.raises(ValueError, match="there are"):
        Blocks(TOKENS, 8, first, count)


def test_offsets_beyond_32_bits(tmp_path: Path) -> None:
    """A file of three billion bytes, nearly all of them a hole."""
    size = 3 << 30
    with (tmp_path / "t").open("wb") as file:
        file.seek(size - 9)
        file.write(bytes(range(1, 10)))
    blocks = Blocks(Mapped(tmp_path / "t", np.uint8, 0, (size,)), 8)
    last = np.array([len(blocks) - 1], np.int32)
    assert blocks[last][0].tolist() == blocks[-1:][0].tolist()
    assert blocks[last][0].tolist() == np.fromfile(tmp_path / "t", np.uint8, 9, offset=int(last[0]) * 8).tolist()
    assert blocks[last].max() > 0


def test_what_was_taken_is_a_copy_and_a_mapped_file_goes_by_its_path(tmp_path: Path) -> None:
    TOKENS.tofile(tmp_path / "t")
    blocks = Blocks(Mapped(tmp_path / "t", np.uint16, 2, (190,)), 8, 1, 20)
    for rows in (slice(None), slice(0, 1), [0]):
        assert blocks[rows].flags.owndata or blocks[rows].base.flags.owndata
        assert blocks[rows].flags.writeable
    sent = pickle.dumps(blocks)
    assert len(sent) < 700
    again = pickle.loads(sent)
    np.testing.assert_array_equal(again[:], blocks[:])
    np.testing.assert_array_equal(again[0], TOKENS[9:18])
    (tmp_path / "t").unlink()
    with pytest.raises(DataError, match="cannot be read here"):
        pickle.loads(sent)[0]
    in_memory = pickle.loads(pickle.dumps(Weights(TOKENS, 8)))
    np.testing.assert_array_equal(in_memory[:], Weights(TOKENS, 8)[:])
