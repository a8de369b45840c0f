"""What all tests share."""

import os
import shutil
import tempfile

import pytest

# Many tests compile the same small programs, some of them in processes of their own: keep them for the session.
PROGRAMS = "JAX_COMPILATION_CACHE_DIR"
FIRST = "PYTEST_XDIST_WORKER" not in os.environ  # of several processes that run tests, the one that starts the others
if FIRST:
    os.environ[PROGRAMS] = tempfile.mkdtemp(prefix="distopt-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - or real workers wait for the tests that run beside them


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests with real processes run one after the other, each uses all cores; and first, they take the longest."""
    for item in items:
        if item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the programs."""
    del config
    if FIRST:
        shutil.rmtree(os.environ[PROGRAMS], ignore_errors=True)
