"""The documentation builds without a warning, and what it says to type and links to exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from distopt.cli import COMMANDS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = ROOT / "docs" / "optimizers.md"  # made by docs/conf.py


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", "-d", str(tmp_path / "trees"), str(ROOT / "docs"), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    optimizers = (tmp_path / "optimizers.html").read_text(encoding="utf-8")
    for path in (ROOT / "conf" / "optimizer").glob("*.yaml"):
        assert f'id="{path.stem.replace("_", "-")}"' in optimizers, f"{path.stem} has no section"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_pages_exist(page: Path) -> None:
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL):
        for command in re.findall(r"^ *distopt (\w+)", block, flags=re.MULTILINE):
            assert command in COMMANDS, f"{page.name}: distopt {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text))
    files = {page.parent / link.split("#")[0] for link in links if not link.startswith(("http", "#"))}
    assert sorted(str(file) for file in files if file != GENERATED and not file.exists()) == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
