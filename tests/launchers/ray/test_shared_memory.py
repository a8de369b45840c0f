"""Flat buffers and shared-memory slots: what goes in comes out, aligned, in every process."""

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt.launchers.ray import shared_memory
from distopt.launchers.ray.shared_memory import ALIGN, Slots, Wire

TREES: dict[str, Any] = {
    "odd shapes": {"a": np.arange(7, dtype=np.float32), "b": np.ones((3, 5, 1), np.float32)},
    "scalar": {"x": np.float32(2.5), "i": np.array(3, np.int32)},
    "dtypes": [np.arange(5).astype(t) for t in ("int8", "uint16", "int64", "float16", "float64", "bool")],
    "bfloat16": {"w": jnp.arange(9, dtype=jnp.bfloat16)},
    "empty leaf": {"none": np.empty((0, 3), np.float32), "some": np.arange(3.0)},
    "only empty": {"none": np.empty((2, 0), np.float32)},
    "no leaf": (),
    "nested": {"x": ({"y": [np.arange(4)]}, None, np.zeros((2, 2)))},
    "device arrays": {"w": jnp.linspace(0, 1, 33).reshape(3, 11)},
    "not contiguous": {"w": np.arange(24.0).reshape(4, 6).T[::2]},
}


def assert_equal(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.mark.parametrize("name", TREES)
def test_what_is_packed_is_read(name: str) -> None:
    wire = Wire(TREES[name])
    buffer = wire.pack(TREES[name])
    assert buffer.nbytes == wire.buffer_bytes >= wire.payload_bytes
    assert_equal(wire.read(buffer), TREES[name])


@pytest.mark.parametrize("name", TREES)
def test_the_payload_is_the_bytes_of_the_leaves(name: str) -> None:
    assert Wire(TREES[name]).payload_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(TREES[name]))


def test_keys_for_random_numbers_travel_as_the_numbers_they_are_made_of() -> None:
    tree = {"key": jax.random.split(jax.random.key(3), 2), "x": np.arange(3, dtype=np.float32)}
    wire = Wire(jax.eval_shape(lambda: jax.tree.map(jnp.asarray, tree)))
    again = wire.read(wire.pack(tree))
    assert again["key"].dtype == tree["key"].dtype
    assert (jax.random.key_data(again["key"]) == jax.random.key_data(tree["key"])).all()
    assert again["x"].tolist() == [0, 1, 2]


def test_shapes_alone_make_the_same_layout() -> None:
    tree = TREES["nested"]
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
    assert_equal(Wire(shapes).read(Wire(tree).pack(tree)), tree)


def test_leaves_are_aligned_views() -> None:
    tree = TREES["dtypes"]
    wire = Wire(tree)
    buffer = np.empty(wire.buffer_bytes + ALIGN, np.uint8)
    buffer = buffer[-buffer.ctypes.data % ALIGN :][: wire.buffer_bytes]
    leaves = jax.tree.leaves(wire.read(buffer))
    assert all(leaf.ctypes.data % ALIGN == 0 for leaf in leaves)
    assert all(np.shares_memory(leaf, buffer) for leaf in leaves)


def test_another_type_shape_or_number_of_leaves_is_refused() -> None:
    wire = Wire({"x": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=r"an array is float64\(3,\) instead of float32\(3,\)"):
        wire.pack({"x": np.zeros(3, np.float64)})
    with pytest.raises(ValueError, match=r"an array is float32\(1,\) instead of float32\(3,\)"):
        wire.pack({"x": np.zeros(1, np.float32)})
    with pytest.raises(ValueError, match="instead of PyTreeDef"):
        wire.pack({"x": np.zeros(3, np.float32), "y": np.zeros(3, np.float32)})


@pytest.fixture(params=["open file", "name"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """As on Linux, and as where processes do not see each other's open files."""
    if request.param == "name":
        monkeypatch.setattr(shared_memory, "OPEN_FILES", "/nowhere/")
    path = Slots.create(6, 2 * ALIGN, ALIGN)
    yield path
    with suppress(OSError):
        Slots.forget(path)


def test_slots_do_not_overlap(path: str) -> None:
    slots = Slots(path, 2, 2 * ALIGN, ALIGN, ALIGN, 3 * ALIGN)
    views, pairs = [slots.up(k) for k in range(2)], (slots.down, slots.center, slots.kept)
    views += [slot(k, sequence) for k in range(2) for slot in pairs for sequence in (1, 2)]
    for value, view in enumerate(views):
        view[:] = value
    assert [set(view.tolist()) for view in views] == [{value} for value in range(14)]
    assert all(view.ctypes.data % ALIGN == 0 for view in views)
    assert {view.nbytes for view in views} == {ALIGN, 2 * ALIGN, 3 * ALIGN}


def test_a_reply_stays_until_the_one_after_the_next(path: str) -> None:
    slots = Slots(path, 3, 2 * ALIGN, ALIGN)
    slots.down(1, 5)[:] = 5
    slots.down(1, 6)[:] = 6
    assert set(slots.down(1, 5).tolist()) == {5}
    slots.down(1, 7)[:] = 7
    assert np.shares_memory(slots.down(1, 5), slots.down(1, 7))


def test_two_processes_share_the_slots_also_after_the_file_is_gone(path: str) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=_other, args=(path, theirs))
    other.start()
    try:
        slots = Slots(path, 3, 2 * ALIGN, ALIGN)
        assert ours.poll(60)
        assert ours.recv() == "opened"
        Slots.forget(path)
        assert not os.path.exists(path)
        slots.up(2)[:] = 42
        ours.send("written")
        assert ours.poll(60)
        assert ours.recv() == [42] * 2 * ALIGN
        assert set(slots.down(0, 1).tolist()) == {7}
    finally:
        other.join(60)
    assert other.exitcode == 0


def _other(path: str, pipe: Any) -> None:
    slots = Slots(path, 3, 2 * ALIGN, ALIGN)
    pipe.send("opened")
    pipe.recv()
    slots.down(0, 1)[:] = 7
    pipe.send(slots.up(2).tolist())


def test_too_large_slots_are_refused_and_leave_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError):
        Slots.create(2**20, 2**40, 2**40)
    assert list(tmp_path.iterdir()) == []


ABANDONED = """
import os, tempfile
from distopt.launchers.ray.shared_memory import Slots
make = tempfile.mkstemp
def told(**where):
    made = make(**where)
    print(made[1], flush=True)
    return made
tempfile.mkstemp = told
Slots.create(2, 64, 64)
os.kill(os.getpid(), 9)
"""


def test_nothing_is_left_of_slots_that_are_abandoned() -> None:
    """As by a process that is killed before the others have opened them."""
    ended = subprocess.run([sys.executable, "-c", ABANDONED], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    path = Path(ended.stdout.strip())
    assert path.name.startswith("distopt-")
    assert not path.exists()
