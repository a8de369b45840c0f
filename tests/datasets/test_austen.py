"""Novels in a database of R: read as R writes it, refused if damaged; the real ones where Debian's package is."""

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest

from distopt import datasets
from distopt.datasets import austen, sources
from distopt.errors import DataError
from tests.datasets.test_own import load

DEBIAN = Path("/usr/lib/R/site-library/janeaustenr/data")
SETTINGS = {"context": 8, "validation_fraction": 0.25}
NOVELS = [[f"Title {i}", "", "It is a truth é", "universally acknowledged"] for i in range(6)]
HEAD = b"X\n" + struct.pack(">4i", 3, 0x40201, 0x30500, 5) + b"UTF-8"


def record(lines: list[str], **wrong: int) -> bytes:
    """A vector of texts in R's XDR, packed; `wrong` replaces its kind, its count, the size or a length."""
    body = HEAD + struct.pack(">2i", wrong.get("kind", 16), wrong.get("count", len(lines)))
    for line in map(str.encode, lines):
        body += struct.pack(">2i", 0x40009, wrong.get("length", len(line))) + line
    return struct.pack(">i", wrong.get("size", len(body))) + zlib.compress(body)


def written(folder: Path, records: list[bytes], **wrong: int) -> Path:
    places, first = [], wrong.get("first", 0)
    for each in records:
        places.append(austen.PAIR + struct.pack(">2i", first, len(each)))
        first += len(each)
    (folder / "Rdata.rdx").write_bytes(gzip.compress(HEAD + struct.pack(">i", len(places)) + b"".join(places)))
    (folder / "Rdata.rdb").write_bytes(b"".join(records))
    return folder


def text(found: datasets.Dataset) -> bytes:
    return b"".join(part[0][:][:, :-1].tobytes() for part in (found.train, found.validation))


def test_the_lines_of_all_novels_are_the_text(tmp_path: Path) -> None:
    found = load("austen", root=str(written(tmp_path, [*map(record, NOVELS)])), **SETTINGS)
    expected = "\n".join(line for novel in NOVELS for line in novel).encode()
    assert text(found) == expected[: (len(expected) - 1) // 8 * 8]
    assert found.told[0].startswith(f"austen: {len(expected)} bytes, ")
    assert found.content is not None
    again = written(tmp_path, [*map(record, [*NOVELS[:5], ["Another"] * 9])])
    assert load("austen", root=str(again), **SETTINGS).content != found.content


@pytest.mark.parametrize(
    ("last", "wrong", "told"),
    [
        ({}, {"first": 1}, "cannot be read"),
        ({}, {"first": 10_000}, "Rdata.rdx lists a record beyond Rdata.rdb"),
        ({}, {"first": -9}, "Rdata.rdx lists a record beyond Rdata.rdb"),
        ({"size": 7}, {}, "a record announces 7 bytes and has"),
        ({"kind": 13}, {}, "a record holds no text"),
        ({"length": -1}, {}, "a record holds no text"),
        ({"length": 2**31 - 1}, {}, "a record holds no text"),
        ({"count": -1}, {}, "a record holds no text"),
        ({"count": 2**31 - 1}, {}, "cannot be read"),
    ],
)
def test_databases_that_contradict_themselves(
    tmp_path: Path, last: dict[str, int], wrong: dict[str, int], told: str
) -> None:
    written(tmp_path, [*map(record, NOVELS[:5]), record(NOVELS[5], **last)], **wrong)
    with pytest.raises(DataError, match=told) as error:
        load("austen", root=str(tmp_path), **SETTINGS)
    assert len(str(error.value).splitlines()) == 1


def test_other_databases_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, [*map(record, NOVELS[:2])])
    with pytest.raises(DataError, match=r"Rdata.rdx lists 2 records, expected 6 novels"):
        load("austen", root=str(tmp_path), **SETTINGS)
    (tmp_path / "Rdata.rdx").write_bytes(gzip.compress(bytes(10**8)))
    with pytest.raises(DataError, match=r"Rdata.rdx has .* bytes, expected at most 65,536"):
        load("austen", root=str(tmp_path), **SETTINGS)
    written(tmp_path, [*map(record, [*NOVELS[:5], ["x" * 10**6]])])
    monkeypatch.setitem(austen.MOST, "Rdata.rdb", 10**5)
    with pytest.raises(DataError, match="a part is cut short, or has more than 100,000 bytes"):
        load("austen", root=str(tmp_path), **SETTINGS)


def test_novels_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sources.SOURCES, "austen", sources.SOURCES["austen"]._replace(system=()))
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: pytest.fail("asked the network"))
    told = r"dataset.name=austen: expected Rdata.rdx, Rdata.rdb in .*; .*, or install Debian's r-cran-janeaustenr$"
    for settings in ({}, {"root": str(tmp_path)}):
        with pytest.raises(DataError, match=told):
            load("austen", **settings, **SETTINGS)
    assert datasets.found()["austen"] is None


@pytest.mark.skipif(not austen.pick(DEBIAN), reason="Debian's package r-cran-janeaustenr is not installed")
def test_the_novels_as_debian_ships_them() -> None:
    settings: dict[str, Any] = {"context": 64, "validation_fraction": 0.1}
    found = load("austen", root=str(DEBIAN), **settings)
    assert found.told[0].startswith("austen: 4,025,028 bytes")
    assert sum(map(len, austen._novels(DEBIAN))) == 73_422
    assert text(found).startswith(b"EMMA\n\nBy Jane Austen")
