"""The wheel: everything is in it, and it works away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "distopt", "conf")

pytestmark = pytest.mark.xdist_group("package")


def python(*arguments: str, cwd: Path, path: str = "") -> str:
    environment = os.environ | {"PYTHONPATH": path, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INDEX": "1"}
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    python("-m", "pip", "wheel", "./source", "--no-deps", "--no-build-isolation", "-w", ".", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_every_module_and_every_configuration_is_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"distopt/{path.relative_to(ROOT / 'distopt')}" for path in (ROOT / "distopt").rglob("*.py")}
    page = ROOT / "distopt" / "report" / "page"
    wanted |= {f"distopt/report/page/{path.name}" for path in page.iterdir() if path.suffix in (".html", ".css", ".js")}
    wanted |= {f"distopt/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert len(wanted) > 60
    assert wanted | {"distopt/py.typed"} <= packed
    assert not [name for name in packed if name.startswith(("tests/", "conf/")) or name.endswith(".pyc")]


def test_the_installed_wheel_composes_and_validates_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    python("-m", "pip", "install", str(wheel), "--no-deps", "--target", str(target), cwd=tmp_path)
    program = (
        "import distopt, distopt.config as c, distopt.cli\n"
        "print(distopt.__file__)\n"
        "print(c.validate(c.compose(['optimizer=agn', 'launcher=sim']))['optimizer']['name'])\n"
        "print(distopt.cli.main(['list', 'optimizers']))\n"
    )
    lines = python("-P", "-c", program, cwd=tmp_path, path=str(target)).splitlines()
    assert Path(lines[0]).is_relative_to(target)
    assert lines[1] == "agn"
    assert lines[-1] == "0"


def test_importing_the_package_is_light(tmp_path: Path) -> None:
    program = (
        "import sys, distopt, distopt.cli; print(sorted({'jax', 'ray', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert python("-c", program, cwd=tmp_path).strip() == "[]"
