"""IDX files, good and damaged, and where they are found."""

import gzip
import hashlib
import io
import struct
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from distopt import datasets
from distopt.datasets import idx, sources
from distopt.datasets.sources import Source
from distopt.errors import DataError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
RNG = np.random.default_rng(0)


def encoded(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


def contents() -> dict[str, bytes]:
    parts = {}
    for part, size in (("train", 30), ("t10k", 20)):
        parts[f"{part}-images-idx3-ubyte"] = encoded(RNG.integers(0, 256, (size, 28, 28)))
        parts[f"{part}-labels-idx1-ubyte"] = encoded(np.arange(size) % 10)
    return parts


def write(folder: Path, parts: dict[str, bytes], compress: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        (folder / f"{name}.gz" if compress else folder / name).write_bytes(
            gzip.compress(content) if compress else content
        )
    return folder


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No data, no network."""

    def unreachable(url: str, timeout: float) -> io.BytesIO:
        raise urllib.error.URLError("no network")

    monkeypatch.delenv("DISTOPT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", unreachable)


@pytest.mark.parametrize("compress", [True, False])
def test_images_and_labels(tmp_path: Path, compress: bool) -> None:
    parts = contents()
    loaded = datasets.load({"name": "mnist", "root": str(write(tmp_path, parts, compress))})
    assert loaded is not None
    assert (loaded.shape, loaded.size, len(loaded.validation[1]), loaded.classes) == ((28, 28), 30, 20, 10)
    assert (loaded.train[0].dtype, loaded.train[1].dtype) == (np.float32, np.int32)
    raw = np.frombuffer(parts["train-images-idx3-ubyte"][16:], np.uint8).reshape(30, 28, 28)
    assert np.array_equal(np.round(loaded.train[0] * 255).astype(np.uint8), raw)
    assert loaded.train[0].max() <= 1
    assert np.array_equal(loaded.validation[1], np.arange(20) % 10)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda raw: raw[:-1], "header announces 23520 values, the file holds only 23519"),
        (lambda raw: raw + b"x", "the file holds more than 23520"),
        (lambda raw: b"", "begins with nothing"),
        (lambda raw: b"\x1f\x8b" + raw[2:], "begins with 1f8b0803"),
        (lambda raw: raw[:3] + b"\x01" + raw[4:], "begins with 00000801.*with 00000803"),
        (lambda raw: raw[:9], "ends within its header"),
        (lambda raw: raw[:4] + b"\xff" * 12 + raw[16:], "announces 79228162458924105385300197375 values"),
        (lambda raw: encoded(np.zeros((30, 20, 20))), "20 x 20 pixels, expected 28 x 28"),
        (lambda raw: encoded(np.zeros((29, 28, 28))), "29 images, but train-labels.* has 30 labels"),
    ],
)
@pytest.mark.parametrize("compress", [True, False])
def test_damaged_images(tmp_path: Path, damage: Callable[[bytes], bytes], told: str, compress: bool) -> None:
    parts = contents()
    parts["train-images-idx3-ubyte"] = damage(parts["train-images-idx3-ubyte"])
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte.*{told}"):
        datasets.load({"name": "mnist", "root": str(write(tmp_path, parts, compress))})


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-12],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: b"not gzip at all",
        lambda packed: packed[:200] + bytes(20) + packed[220:],
    ],
)
def test_damaged_compression(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = write(tmp_path, contents()) / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz: cannot be read.*fetch it anew"):
        datasets.load({"name": "mnist", "root": str(tmp_path)})


def test_label_out_of_range(tmp_path: Path) -> None:
    parts = contents() | {"t10k-labels-idx1-ubyte": encoded(np.full(20, 10))}
    with pytest.raises(DataError, match=r"t10k-labels.*label 10, expected 0 to 9"):
        datasets.load({"name": "mnist", "root": str(write(tmp_path, parts))})


def test_no_images(tmp_path: Path) -> None:
    empty = {"train-images-idx3-ubyte": encoded(np.zeros((0, 28, 28))), "train-labels-idx1-ubyte": encoded(np.zeros(0))}
    with pytest.raises(DataError, match="holds no images"):
        datasets.load({"name": "mnist", "root": str(write(tmp_path, contents() | empty))})


def test_order_of_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, cached, shared, chosen = (write(tmp_path / name, {}) for name in ("system", "cache", "shared", "chosen"))
    monkeypatch.setitem(sources.SOURCES, "mnist", sources.SOURCES["mnist"]._replace(system=(system,)))
    settings = {"name": "mnist", "download": False}
    for folder, place in [(system, ""), (cached, "distopt/mnist"), (shared, ""), (shared, "mnist"), (chosen, "mnist")]:
        write(folder / place, contents())
        if folder is shared:
            monkeypatch.setenv("DISTOPT_DATA", str(shared))
        if folder is chosen:
            settings["root"] = str(chosen)
        files = sources.obtain(settings, idx.pick)
        assert {file.parent for file in files} == {folder / place}


def test_a_folder_given_by_hand_is_the_only_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTOPT_DATA", str(write(tmp_path / "shared", contents())))
    with pytest.raises(DataError, match=r"expected train-images-idx3-ubyte.gz.*in .*/typo or .*/typo/mnist"):
        datasets.load({"name": "mnist", "root": str(tmp_path / "typo")})


@pytest.mark.parametrize("download", [True, False])
def test_offline(tmp_path: Path, download: bool) -> None:
    with pytest.raises(DataError) as error:
        datasets.load({"name": "mnist", "download": download})
    told = str(error.value)
    assert "t10k-labels-idx1-ubyte.gz" in told
    assert str(tmp_path / "cache/distopt/mnist") in told
    assert ("no network" in told) == download


def serve(monkeypatch: pytest.MonkeyPatch, pages: dict[str, bytes]) -> list[str]:
    """Puts pages on the network and returns the list of addresses asked for."""
    asked = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        if url not in pages:
            raise urllib.error.URLError("gone")
        return io.BytesIO(pages[url])

    monkeypatch.setattr("urllib.request.urlopen", answer)
    return asked


def test_download_takes_the_next_mirror_and_keeps_only_right_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = {f"{name}.gz": gzip.compress(content) for name, content in contents().items()}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()}
    mirrors = ("https://gone/", "https://wrong/", "https://right/")
    monkeypatch.setitem(sources.SOURCES, "mnist", Source(digests, mirrors))
    wrong = {f"https://wrong/{name}": content + b"x" for name, content in packed.items()}
    asked = serve(monkeypatch, wrong)
    with pytest.raises(DataError, match=r"gone: .*wrong: wrong SHA-256.*right: "):
        datasets.load({"name": "mnist"})
    assert list((tmp_path / "cache/distopt/mnist").iterdir()) == []

    asked = serve(monkeypatch, wrong | {f"https://right/{name}": content for name, content in packed.items()})
    loaded = datasets.load({"name": "mnist"})
    assert loaded is not None
    assert loaded.size == 30
    assert len(asked) == 12
    assert {file.name for file in (tmp_path / "cache/distopt/mnist").iterdir()} == set(packed)
    datasets.load({"name": "mnist"})
    assert len(asked) == 12


def test_addresses_are_encrypted_and_checksums_complete() -> None:
    downloaded = [source for source in sources.SOURCES.values() if source.mirrors]
    assert all(source.package for source in sources.SOURCES.values() if source not in downloaded)
    for source in downloaded:
        assert len(source.mirrors) > 1
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in source.mirrors)
        assert all(len(bytes.fromhex(digest)) == 32 for digest in source.files.values())


@pytest.mark.skipif(not idx.pick(DEBIAN), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_as_debian_ships_it() -> None:
    loaded = datasets.load({"name": "fashion_mnist", "download": False})
    assert loaded is not None
    assert (loaded.size, len(loaded.validation[1]), loaded.shape) == (60_000, 10_000, (28, 28))
    assert np.array_equal(np.bincount(loaded.train[1]), np.full(10, 6000))
    assert np.array_equal(np.bincount(loaded.validation[1]), np.full(10, 1000))
    assert loaded.train[0].mean() == pytest.approx(0.2860, abs=1e-4)
    assert loaded.train[0].std() == pytest.approx(0.3530, abs=1e-4)
