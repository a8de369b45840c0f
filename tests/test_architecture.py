"""The map of the code: its floors are those that are checked, and what it points to exists."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts.tools import folders

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


def test_the_floors_of_the_page_are_those_that_are_checked() -> None:
    table = PAGE.partition("## The folders")[2].partition("## The trip")[0]
    told = [re.findall(r"`(\w+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    (layers,) = [contract["layers"] for contract in RULES if contract["type"] == "layers"]
    assert [sorted(floor) for floor in told] == [sorted(layer.split(" | ")) for layer in layers]


PATHS = sorted(set(re.findall(r"`((?:distopt|conf|docs|scripts|tests)/[^`]*)`", PAGE)))


@pytest.mark.parametrize("path", [path for path in PATHS if "NAME" not in path])
def test_what_the_page_points_to_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_functions_that_the_page_names_are_there() -> None:
    trip = PAGE.partition("## The trip")[2].partition("## The loops")[0]
    for path, words in re.findall(r"`(distopt/[\w/]+\.py)`,((?: `[\w.]+`(?:,| and)?)+)", trip):
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"`([\w.]+)`", words):
            assert re.search(rf"(def|class) {name.rpartition('.')[2]}\b", source), f"{path} has no {name}"


@pytest.mark.parametrize("words", [["--help"], ["list", "optimizers"], ["compare", "runs"], ["run", "-h"]])
def test_light_commands_start_without_jax_and_ray(tmp_path: Path, words: list[str]) -> None:
    folders.sweep(tmp_path / "runs", ["agn", "adag"])
    program = f"""
import atexit, sys
from distopt.cli import main
atexit.register(lambda: print("imported:", sorted({{"jax", "ray"}} & set(sys.modules))))
main({words})
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(ended.stdout.splitlines()) > 1
    assert ended.stdout.splitlines()[-1] == "imported: []", ended.stdout
