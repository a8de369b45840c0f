"""CIFAR-10: records as files and inside the archive."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from distopt import datasets
from distopt.datasets import cifar10
from distopt.errors import DataError

RECORDS = 3


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "RECORDS", RECORDS)


def batches() -> dict[str, bytes]:
    """Labels 0, 1, 2; pixel (row, column) of picture i: red i, green row, blue column."""
    row, column = np.mgrid[:32, :32]
    records = [
        bytes([label]) + np.stack([np.full((32, 32), label), row, column]).astype(np.uint8).tobytes()
        for label in range(RECORDS)
    ]
    return dict.fromkeys(cifar10.FILES, b"".join(records))


def write_archive(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / cifar10.ARCHIVE
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def load(root: Path) -> datasets.Dataset:
    loaded = datasets.load({"name": "cifar10", "root": str(root)})
    assert loaded is not None
    return loaded


@pytest.mark.parametrize("place", ["cifar-10-batches-bin", "."])
def test_files(tmp_path: Path, place: str) -> None:
    (tmp_path / place).mkdir(exist_ok=True)
    for name, content in batches().items():
        (tmp_path / place / name).write_bytes(content)
    loaded = load(tmp_path)
    assert (loaded.shape, loaded.size, len(loaded.validation[1])) == ((32, 32, 3), 15, 3)
    assert (loaded.train[0].dtype, loaded.train[1].dtype) == (np.float32, np.int32)
    assert np.array_equal(loaded.validation[1], [0, 1, 2])
    assert loaded.validation[0][2, 5, 31] * 255 == pytest.approx([2, 5, 31])


def test_archive_is_read_without_unpacking_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_archive(root, {f"../{name}": content for name, content in batches().items()} | {"/tmp/../etc/x": b"bad"})
    assert load(root).size == 15
    assert [path.name for path in tmp_path.rglob("*")] == ["root", cifar10.ARCHIVE]


def test_archive_lacks_a_batch(tmp_path: Path) -> None:
    files = batches()
    del files["data_batch_3.bin"]
    write_archive(tmp_path, files)
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: lacks data_batch_3\.bin"):
        load(tmp_path)


def test_truncated_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path, batches())
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"\0" * 3073 * 2, "has not the 9219 bytes"), (b"\0" * (3073 * 3 + 1), "has not"), (b"\x0a" * 9219, "label 10")],
)
def test_damaged_batch(tmp_path: Path, content: bytes, told: str) -> None:
    write_archive(tmp_path, batches() | {"data_batch_2.bin": content})
    with pytest.raises(DataError, match=rf"data_batch_2\.bin: .*{told}|data_batch_2\.bin: {told}"):
        load(tmp_path)
