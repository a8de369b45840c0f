"""Checkpoints are read as they were written, or not at all."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from distopt.errors import ResultsError
from distopt.records import Checkpoint
from distopt.runs import checkpoints
from distopt.runs.checkpoints import Due, latest, pack, unpack, write
from distopt.trees import is_key

RUN = {"seed": 0, "fingerprint": "f", "code": "c"}
ROWS = {"commits": 100, "evals": 10}


def tree(value: float = 0.0) -> dict[str, Any]:
    """Arrays of all kinds; one of them is there twice."""
    params = {"a/b": jnp.full((2, 3), value), "c": jnp.zeros((), jnp.int32)}
    kinds = (jnp.array([value], jnp.bfloat16), jnp.array([True]), jax.random.key(3), jnp.zeros((0, 2)))
    return {"center": params, "workers": [params, ()], "kinds": kinds}


def taken(update: int, **numbers: Any) -> Checkpoint:
    return Checkpoint(update, update / 10, pack(tree(update)), {"steps": [1, 2]} | numbers, {"commits": update}, RUN)


def found(folder: Path) -> tuple[int | None, list[str]]:
    checkpoint, problems = latest(folder, RUN, ROWS)
    return checkpoint and checkpoint.update, problems


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    write(tmp_path, taken(7))
    checkpoint, problems = latest(tmp_path, RUN, ROWS)
    assert checkpoint
    assert problems == []
    assert checkpoint._replace(arrays={}) == taken(7)._replace(arrays={})
    back = unpack(tree(), checkpoint.arrays)
    assert jax.tree.structure(back) == jax.tree.structure(tree())
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(tree(7)), strict=True):
        assert a.dtype == b.dtype
        assert jnp.array_equal(*((jax.random.key_data(x) for x in (a, b)) if is_key(a) else (a, b)))
    assert back["workers"][0]["a/b"] is back["center"]["a/b"]


def test_what_is_one_array_is_written_once(tmp_path: Path) -> None:
    params = {"w": jnp.arange(1000.0)}
    write(tmp_path, Checkpoint(1, 0.0, pack({str(k): params for k in range(50)}), {}, {}, RUN))
    assert (tmp_path / "checkpoints" / "1.npz").stat().st_size < 8000


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for update in (3, 20, 100):
        write(tmp_path, taken(update))
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["100.json", "100.npz", "20.json", "20.npz"]
    assert found(tmp_path) == (100, [])
    checkpoints.forget(tmp_path, after=20)
    assert found(tmp_path) == (20, [])


def damages() -> dict[str, Any]:
    def change(path: Path, at: int) -> None:
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)

    def edit(path: Path) -> None:
        told = json.loads(path.read_text())
        told["content"]["update"] = 9
        path.write_text(json.dumps(told))

    return {
        "archive gone": lambda archive, told: archive.unlink(),
        "archive cut": lambda archive, told: archive.write_bytes(archive.read_bytes()[:-9]),
        "archive empty": lambda archive, told: archive.write_bytes(b""),
        "bit in the archive": lambda archive, told: change(archive, archive.stat().st_size // 2),
        "text cut": lambda archive, told: told.write_bytes(told.read_bytes()[:-9]),
        "text edited": lambda archive, told: edit(told),
        "no mapping": lambda archive, told: told.write_text("[]"),
        "no content": lambda archive, told: told.write_text('{"content": 3}'),
        "a folder": lambda archive, told: (told.unlink(), told.mkdir()),
    }


@pytest.mark.parametrize("kind", damages())
def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path: Path, kind: str) -> None:
    for update in (50, 60):
        write(tmp_path, taken(update))
    place = tmp_path / "checkpoints"
    damages()[kind](place / "60.npz", place / "60.json")
    update, problems = found(tmp_path)
    assert update == 50
    assert [problem.partition(": is damaged (")[0] for problem in problems] == [str(place / "60.json")]
    damages()[kind](place / "50.npz", place / "50.json")
    assert found(tmp_path)[0] is None


def test_one_of_another_run_or_without_its_rows_is_not_used(tmp_path: Path) -> None:
    write(tmp_path, taken(50))
    assert latest(tmp_path, RUN | {"seed": 1}, ROWS)[0] is None
    checkpoint, problems = latest(tmp_path, RUN, {"commits": 49})
    assert checkpoint is None
    assert "rows of commits" in problems[0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    for like in ({"w": jnp.zeros(3)}, {"v": jnp.zeros(2)}):
        with pytest.raises(ResultsError, match="is of another run"):
            unpack(like, pack({"w": jnp.zeros(2)}))


def test_a_checkpoint_is_due_after_updates_or_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    never, every, seconds = (Due({"every": e, "seconds": s}, 10) for e, s in ((None, None), (5, None), (None, 2.0)))
    assert [due(14) for due in (never, every, seconds)] == [False, False, False]
    now[0] = 2.0
    assert [due(10) for due in (never, every, seconds)] == [False, False, False]
    assert [due(15) for due in (never, every, seconds)] == [False, True, True]
    for due in (every, seconds):
        due.taken(15)
        assert not due(19)
