"""The memory left for this process by the machine, its control groups (containers, jobs) and its own limit."""

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


class _Files(NamedTuple):
    """File names of a version of control groups for a group's limit and use, in bytes."""

    limit: str
    used: str
    cache: str  # the entry of `memory.stat` for memory that the kernel frees when it is short


V2 = _Files("memory.max", "memory.current", "inactive_file")
V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def free(root: Path = CGROUPS, own: Path = OWN) -> int:
    """Return how many bytes this process may still allocate; the arguments are for tests."""
    left = [psutil.virtual_memory().available, *_groups(root, own)]
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        left.append(most - psutil.Process().memory_info().vms)
    return max(0, min(left))


def _groups(root: Path, own: Path) -> Iterator[int]:
    """Yield the bytes left by the limit of each control group of this process, innermost first."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, files = (root / "memory", V1) if controllers else (root, V2)
        inner = top / name.lstrip("/")  # in a container this is often the host's path, and only `top` exists
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(top) and (left := _left(folder, files)) is not None:
                yield left


def _left(folder: Path, files: _Files) -> int | None:
    """Return the bytes that one group's limit leaves; None if there is no limit."""
    try:
        limit, used = (folder / files.limit).read_text().strip(), int((folder / files.used).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return None if limit == "max" else int(limit) - used + int(stat.get(files.cache, 0))
    except (OSError, ValueError):
        return None
