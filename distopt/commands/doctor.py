"""`distopt doctor`: show what this machine offers."""

import argparse
from typing import Any

HELP = "show what this machine offers: devices, cores, Ray, shared memory, data sets found"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `distopt doctor`."""
    parser.add_argument("--format", choices=["table", "json"], default="table")


def main(args: argparse.Namespace) -> int:
    """Print what was found; return 1 if something that every run needs is missing."""
    import json

    report = examine()
    if args.format == "json":
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            print(f"{name:<15} {_words(value)}")
    return 0 if report["devices"] and report["ray"] else 1


def examine() -> dict[str, Any]:
    """Return versions, cores, memory, devices, shared memory and data sets of this machine."""
    import shutil
    from pathlib import Path

    import jax

    from distopt import datasets
    from distopt.files import memory
    from distopt.runs.provenance import provenance

    told = provenance()
    shared = Path("/dev/shm")
    return {
        **told["versions"],
        "cpu": told["host"]["cpu"],
        "cores": told["host"]["cores"],
        "memory": f"{told['host']['memory_bytes'] / 2**30:.1f} GiB, {memory.free() / 2**30:.1f} GiB free",
        "shared memory": f"{shutil.disk_usage(shared).free / 2**30:.1f} GiB free" if shared.is_dir() else "none",
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.devices()],
        "datasets": {name: str(place or "not here") for name, place in datasets.found().items()},
    }


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"\n  {name:<13} {place}" for name, place in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
