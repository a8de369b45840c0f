"""Packages with an optimizer or a model, as the documentation shows them: installed, checked, run by the command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"

pytestmark = pytest.mark.xdist_group("example")


class Installed:
    """An example, installed into a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(EXAMPLES / name, folder / "source")
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
def clipped(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed("clipped", tmp_path_factory.mktemp("clipped"))


@pytest.fixture(scope="module")
def char_lm(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed("char_lm", tmp_path_factory.mktemp("char_lm"))


def test_the_optimizer_keeps_the_contract(clipped: Installed) -> None:
    assert "3 passed" in clipped.python("-m", "pytest", "source/tests", "-p", "no:cacheprovider")


def test_the_optimizer_is_listed_and_runs_by_its_entry_point(clipped: Installed) -> None:
    listed = clipped.python("-m", "distopt", "list", "optimizers")
    assert "clipped" in listed
    assert "distopt_clipped" in listed
    conf = clipped.folder / "site" / "distopt_clipped" / "conf"
    problem = ["model=booth", "model.start=[-2,3]", "dataset=none", "local=sgd", "local.learning_rate=0.01"]
    run = ["optimizer=clipped", "launcher=sim", "stop.updates=5", "output=runs", *problem]
    told = clipped.python("-m", "distopt", "run", "--config-dir", str(conf), *run)
    assert "stop.updates=5 reached" in told
    assert len(list((clipped.folder / "runs").glob("*clipped*/model.npz"))) == 1


def test_the_model_passes_its_tests(char_lm: Installed) -> None:
    assert "5 passed" in char_lm.python("-m", "pytest", "source/tests", "-p", "no:cacheprovider")


@pytest.mark.slow
def test_the_models_experiment_compares_three_optimizers(char_lm: Installed) -> None:
    conf = char_lm.folder / "site" / "char_lm" / "conf"
    (char_lm.folder / "short.txt").write_text("Far and few, far and few, are the lands where the Jumblies live.\n" * 60)
    text = ["dataset=text", "dataset.file=short.txt", "dataset.context=16", "model.width=16"]
    run = ["experiment=three", "epochs=null", "stop.updates=2", "evaluate.points=1", "output=runs", *text]
    told = char_lm.python("-m", "distopt", "run", "-m", "--config-dir", str(conf), *run)
    assert "validation bits_per_byte" in told
    for optimizer in ("averaging", "diloco", "agn"):
        assert len(list((char_lm.folder / "runs").glob(f"*{optimizer}*/sample.txt"))) == 1
