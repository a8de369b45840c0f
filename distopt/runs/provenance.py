"""Where a run's numbers come from: versions, code and machine. Never environment variables or tokens."""

import hashlib
import inspect
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from distopt import plugins

PACKAGES = ("distopt", "jax", "jaxlib", "flax", "optax", "equinox", "numpy", "ray")
NUMERICAL = ("distopt", "jax", "jaxlib", "flax", "optax", "numpy")  # a new version may change the last bits
#: parts of the package that start runs, watch them or read their results, and compute nothing that is recorded
READERS = {"commands", "conf", "config", "metrics", "report", "runner", "testing", "trackers"}
READERS |= {"__main__.py", "cli.py", "provenance.py", "results.py"}


def provenance() -> dict[str, Any]:
    """Return `versions`, `git` (commit of the working folder or None) and `host` for `run.json`."""
    return {
        "versions": {"python": platform.python_version()} | {name: v for name in PACKAGES if (v := _version(name))},
        "git": _git_commit(),
        "host": {
            "name": platform.node(),
            "cpu": _cpu(),
            "cores": cores(),
            "memory_bytes": psutil.virtual_memory().total,
            "platform": platform.platform(),
        },
    }


def code_of(config: Mapping[str, Any]) -> str:
    """Return the `code` of a checked configuration."""
    data = [config["dataset"].get(key) for key in ("factory", "validation_factory")]
    return code(config["optimizer"]["name"], config["model"]["name"], *filter(None, data))


@cache
def code(optimizer: str, model: str, *data: str) -> str:
    """Return a hash of the code that computes a run: a run made by other code has to be repeated.

    It covers the package's sources without `READERS`, the modules that optimizer, model and factories of data come
    from (also another package's), and the versions of the `NUMERICAL` packages. It does not cover Ray, Python, drivers
    and the machine.

    Raises:
        ConfigError: no such optimizer, or a `module:factory` that cannot be imported.
    """
    from distopt.optimizers import factory

    made = [factory(optimizer), plugins.find("models", model)]
    made += [plugins.find("datasets", name, "dataset.factory") for name in data]
    own = [inspect.getmodule(each) for each in made if each]
    files = [getattr(module, "__file__", None) for module in own]
    return hash_code(Path(__file__).parents[1], [Path(file) for file in files if file])


def hash_code(package: Path, more: Sequence[Path] = ()) -> str:
    """Return the hash of `code` for a package's folder and more source files."""
    sources = sorted(path for path in package.rglob("*.py") if not READERS & set(path.relative_to(package).parts))
    digest = hashlib.sha256(" ".join(f"{name}=={_version(name)}" for name in NUMERICAL).encode())
    for path in [*sources, *more]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def peak_memory() -> int:
    """Return the most memory this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cores() -> int:
    """Return the number of cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Return the commit of the package's own checkout, None for an installed wheel."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
