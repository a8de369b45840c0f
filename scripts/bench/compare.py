"""Speed of reading results: the comparison of many run folders, and the start of the command."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from scripts.bench.tools import Line, run

FOLDERS, OPTIMIZERS, WINDOWS, WORKERS, SEEDS = 1000, ("agn", "adag", "aeasgd", "dynsgd"), 10, 5, 5


def comparison(data: Path) -> list[Line]:
    """Measure `distopt compare` on 1,000 run folders and `distopt --help`, each in its own process."""
    original = run("launcher=sim", "epochs=10", "workers=4", data=data)
    folder = data.parent / "many"
    for i in range(FOLDERS):
        _copy(original.folder, original.config, folder / f"run-{i:04}", i)
    compared, helped = (_seconds(*arguments) for arguments in (["compare", str(folder)], ["--help"]))
    shutil.rmtree(folder)
    rows = FOLDERS // SEEDS
    return [
        Line("compare: 1,000 run folders", compared, "s", "<= 10", f"{rows} configurations of {SEEDS} seeds"),
        Line("distopt --help", helped, "s", "<= 0.5", "fastest of three"),
    ]


def _copy(original: Path, config: dict[str, Any], folder: Path, i: int) -> None:
    """Copy a run as if it had another optimizer, number of workers, window and seed."""
    shutil.copytree(original, folder, ignore=shutil.ignore_patterns("plots", "model.npz"))
    i, seed = divmod(i, SEEDS)
    i, window = divmod(i, WINDOWS)
    optimizer, workers = divmod(i, WORKERS)
    changed = config | {"seed": seed, "workers": 4 + workers}
    changed["optimizer"] = {"name": OPTIMIZERS[optimizer], "window": 5 + window}
    (folder / "config.yaml").write_text(yaml.safe_dump(changed, sort_keys=False))


def _seconds(*arguments: str) -> float:
    """Return the seconds of the fastest of three calls of the command."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "distopt", *arguments], check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return min(seconds)
