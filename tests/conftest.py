"""What all tests share."""

import json
import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling

# Many tests compile the same small programs, some of them in processes of their own: keep them for the session.
SHARED = "DISTOPT_TESTS"
FIRST = "PYTEST_XDIST_WORKER" not in os.environ  # of several processes that run tests, the one that starts the others
if FIRST:
    os.environ[SHARED] = tempfile.mkdtemp(prefix="distopt-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(os.environ[SHARED]) / "programs")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - or real workers wait for the tests that run beside them


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests with real processes run one after the other, each uses all cores; and first, they take the longest."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)
    if not FIRST:
        marks = {item.nodeid: item.get_closest_marker("xdist_group") for item in items}
        groups = {name: mark.args[0] for name, mark in marks.items() if mark}
        mine = _groups().with_suffix(f".{os.getpid()}")
        mine.write_text(json.dumps(groups))
        mine.replace(_groups())


def _groups() -> Path:
    return Path(os.environ[SHARED]) / "groups.json"


class Schedule(LoadGroupScheduling):
    """Tests of one group run in one process; with pytest 9.2 pytest-xdist 3.8 does not see the groups by itself."""

    @cached_property
    def groups(self) -> dict[str, str]:
        """What the processes that run tests have written: the groups of tests that have one."""
        return json.loads(_groups().read_text())

    def _split_scope(self, nodeid: str) -> str:
        return self.groups.get(nodeid) or super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    """Start tests in the order in which they were collected."""
    config.option.loadscopereorder = False
    return Schedule(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the programs."""
    del config
    if FIRST:
        shutil.rmtree(os.environ[SHARED], ignore_errors=True)
