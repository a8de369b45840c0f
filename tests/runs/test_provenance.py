"""The hash of the code changes with what computes a run, and with nothing else."""

import shutil
from pathlib import Path

import pytest

import distopt
from distopt.runs import provenance

PACKAGE = Path(distopt.__file__).parent


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's sources that a test may edit."""
    return shutil.copytree(PACKAGE, tmp_path_factory.mktemp("copy") / "distopt", ignore=shutil.ignore_patterns("*.pyc"))


@pytest.mark.parametrize(
    "source", ["training/server.py", "optimizers/adag.py", "launchers/sim.py", "datasets/sampler.py"]
)
def test_sources_that_compute_count(package: Path, source: str) -> None:
    before = provenance.hash_code(package)
    with (package / source).open("a") as file:
        file.write("# changed\n")
    assert provenance.hash_code(package) != before


@pytest.mark.parametrize("source", ["report/table.py", "commands/run.py", "metrics/staleness.py", "runs/results.py"])
def test_sources_that_only_read_do_not(package: Path, source: str) -> None:
    before = provenance.hash_code(package)
    with (package / source).open("a") as file:
        file.write("# changed\n")
    assert provenance.hash_code(package) == before


def test_versions_of_numerical_packages_and_the_optimizers_own_module_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = provenance.hash_code(PACKAGE)
    module = tmp_path / "mine.py"
    module.write_text("def mine(): ...\n")
    assert provenance.hash_code(PACKAGE, [module]) != before
    assert provenance.code("adag", "mlp") == provenance.code("adag", "cnn") != provenance.code("agn", "mlp")
    monkeypatch.setattr(provenance, "_version", lambda package: "0" if package == "jaxlib" else "1")
    other = provenance.hash_code(PACKAGE)
    monkeypatch.setattr(provenance, "_version", lambda package: "1")
    assert provenance.hash_code(PACKAGE) != other


def test_the_module_of_a_model_of_ones_own_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "a_model_to_edit.py"
    module.write_text("def net(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = provenance.code("adag", "a_model_to_edit:net")
    assert before != provenance.code("adag", "mlp")
    module.write_text("def net(): return 1\n")
    provenance.code.cache_clear()
    assert provenance.code("adag", "a_model_to_edit:net") != before
    config = {"optimizer": {"name": "adag"}, "model": {"name": "mlp"}, "dataset": {"factory": "a_model_to_edit:net"}}
    assert provenance.code_of(config) == provenance.code("adag", "a_model_to_edit:net")
    assert provenance.code_of(config | {"dataset": {}}) == provenance.code("adag", "mlp")


def test_no_environment_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "not-to-be-told")
    assert "not-to-be-told" not in str(provenance.provenance())
