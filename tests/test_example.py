"""The optimizer in a package of its own, as the documentation shows it: installed, checked, and run by the command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "clipped"

pytestmark = pytest.mark.xdist_group("example")


class Installed:
    """The example, installed into a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(EXAMPLE, folder / "source")
        self.python("-m", "pip", "install", "./source", "--no-deps", "--no-build-isolation", "--target", "site")

    def python(self, *arguments: str) -> str:
        """Run Python beside the installed package, without a network; return what it says."""
        path = os.pathsep.join([str(self.folder / "site"), *sys.path])
        environment = os.environ | {"PYTHONPATH": path, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        command = [sys.executable, *arguments]
        ended = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("example"))


def test_it_keeps_the_contract(installed: Installed) -> None:
    assert "3 passed" in installed.python("-m", "pytest", "source/tests", "-p", "no:cacheprovider")


def test_it_is_listed_and_runs_by_its_entry_point(installed: Installed) -> None:
    listed = installed.python("-m", "distopt", "list", "optimizers")
    assert "clipped" in listed
    assert "distopt_clipped" in listed
    conf = installed.folder / "site" / "distopt_clipped" / "conf"
    problem = ["model=booth", "model.start=[-2,3]", "dataset=none", "local=sgd", "local.learning_rate=0.01"]
    run = ["optimizer=clipped", "launcher=sim", "stop.updates=5", "output=runs", *problem]
    told = installed.python("-m", "distopt", "run", "--config-dir", str(conf), *run)
    assert "stop.updates=5 reached" in told
    assert len(list((installed.folder / "runs").glob("*clipped*/model.npz"))) == 1
