"""Files of others: what they claim is checked before it is believed."""

import gzip
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distopt import cli
from distopt.errors import DistoptError
from distopt.files import npz, untrusted


def test_pipes_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe or a device"):
        untrusted.regular(tmp_path / "pipe")


def test_what_unpacks_to_more_than_the_free_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"a,label\n" + b"1,0\n" * 1_000_000))
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 2_000_000}))
    with pytest.raises(MemoryError, match=r"bomb\.csv\.gz needs .* are free"):
        untrusted.read_csv(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: " + "[" * 100_000, "nest"),
        ("a: &a\n  b: *a\n", "aliases expand"),
        ("a: !!python/object/apply:os.getcwd []", "line 1: could not determine"),
        ("- a", "no settings by name"),
        ("a: " + "x" * 2_000_000, "it has 2.0 MB, such a file at most 1.0 MB"),
    ],
)
def test_yaml_that_would_do_harm(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(untrusted.BROKEN) as caught:
        untrusted.read_mapping(tmp_path / "a.yaml")
    assert told in untrusted.reason(caught.value)


def test_arrays_that_announce_more_than_there_is(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(8))
    lie = (tmp_path / "x.npy").read_bytes().replace(b"(8,), }  ", b"(8000,),}")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", lie)
    with pytest.raises(ValueError, match="array x announces 64000 bytes and has 64"):
        npz.read_arrays(tmp_path / "a.npz")


def test_an_error_cannot_control_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def refuse(_: list[str]) -> int:
        raise DistoptError("a\x1b[2Jb\n" + "x" * 5000)

    monkeypatch.setattr(cli, "_dispatch", refuse)
    assert cli.main(["list"]) == 1
    told = capsys.readouterr().err
    assert "a\\x1b[2Jb" in told
    assert len(told) < 1100


@pytest.mark.parametrize("name", ["a.csv.zip", "a.tar", "a.tar.gz", "a.csv.zst"])
def test_archives_are_not_taken_for_tables(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"a,label\n1,0\n")
    with pytest.raises(ValueError, match=r"is not unpacked, only \.gz, \.bz2 and \.xz of a single table"):
        untrusted.read_csv(tmp_path / name)


def test_an_archive_under_the_name_of_a_table_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a.csv" + bytes(500) + b",label\n1,0\n")
    with pytest.raises(ValueError, match="it is no text"):
        untrusted.read_csv(tmp_path / "a.csv")
