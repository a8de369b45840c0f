"""What all tests share."""

import os
import shutil
import tempfile

import pytest

# Many tests compile the same small programs, some of them in processes of their own: keep them for the session.
PROGRAMS = tempfile.mkdtemp(prefix="distopt-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = PROGRAMS
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_unconfigure(config: pytest.Config) -> None:
    del config
    shutil.rmtree(PROGRAMS, ignore_errors=True)
