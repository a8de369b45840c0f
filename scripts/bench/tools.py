"""Shared parts of the benchmarks: data, runs in their own processes, and the plain loop."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LIMITED = ["epochs=null", "evaluate.points=1"]  # benchmarks set the updates and evaluate as little as possible


class Line(NamedTuple):
    """One line of the table."""

    what: str
    value: float
    unit: str
    target: str
    detail: str


def make_images(path: Path, shape: tuple[int, ...] = (28, 28), samples: int = 10_000) -> Path:
    """Write random data in the shape of MNIST (or another), because speed does not depend on the pictures."""
    rng = np.random.default_rng(0)
    x, y = rng.random((samples + 2_000, *shape), np.float32), rng.integers(0, 10, samples + 2_000).astype(np.int32)
    np.savez(path, train_x=x[:samples], train_y=y[:samples], validation_x=x[samples:], validation_y=y[samples:])
    return path


def run(*overrides: str, data: Path) -> Any:
    """Run `distopt run` in its own process, and load the result."""
    import distopt

    with_data = [f"dataset.file={data}", "dataset=npz"] if "dataset=npz" in overrides else []
    rest = [override for override in overrides if override != "dataset=npz"]
    output = tempfile.mkdtemp(dir=data.parent)
    command = [sys.executable, "-m", "distopt", "run", *rest, *with_data, f"output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    (folder,) = Path(output).iterdir()
    return distopt.load(folder)


def plain_loop(overrides: list[str], data: Path, windows: int = 12, *, xla: bool = False) -> float:
    """Return the steps per second of the plain loop, measured in its own process; see `plain_loop.measure`."""
    arguments = f"{overrides!r}, {str(data)!r}, {windows}, xla={xla}"
    code = f"from scripts.bench.plain_loop import measure; print(measure({arguments}))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    return float(done.stdout.split()[-1])
