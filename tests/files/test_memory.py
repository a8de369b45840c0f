"""The memory that is left: the smallest of what the machine, a control group and the process itself have."""

import resource
from pathlib import Path

import psutil
import pytest

from distopt.files import memory

MIB = 2**20


def group(folder: Path, limit: str, used: int, names: memory._Files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names.limit).write_text(f"{limit}\n")
    (folder / names.used).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names.cache} {2 * MIB}\n")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


def test_limits_of_control_groups_count_also_those_further_out(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/job/step\n")
    group(tmp_path / "job" / "step", "max", 10 * MIB, memory.V2)
    assert memory.free(tmp_path, own) > 50 * MIB
    group(tmp_path / "job", str(30 * MIB), 12 * MIB, memory.V2)
    assert memory.free(tmp_path, own) == 20 * MIB
    group(tmp_path / "job", str(10 * MIB), 15 * MIB, memory.V2)
    assert memory.free(tmp_path, own) == 0


def test_old_control_groups_in_a_container_that_has_only_the_top(tmp_path: Path, own: Path) -> None:
    own.write_text("3:cpu,cpuacct:/a\n4:memory:/docker/0123\n")
    group(tmp_path / "memory", str(40 * MIB), 12 * MIB, memory.V1)
    assert memory.free(tmp_path, own) == 30 * MIB


def test_without_control_groups_it_is_what_the_machine_has(tmp_path: Path) -> None:
    assert memory.free(tmp_path, tmp_path / "none") == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_the_limit_of_the_process_counts(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (size + 40 * MIB, before[1]))
    try:
        assert memory.free(tmp_path, tmp_path / "none") <= 40 * MIB
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
