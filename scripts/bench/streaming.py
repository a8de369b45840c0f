"""Samples that stay in their file: speed over samples on the device, and memory on a file of 4 GB."""

import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from scripts.bench.tools import LIMITED, Line, make_images, run

THESIS = ["model=mlp_thesis", "dataset=npz", "batch_size=128", "optimizer.window=10", *LIMITED]
SAMPLES = 100_000  # 314 MB, read once beforehand
HUGE, TOGETHER = 1_310_000, 10_000  # samples of 4.1 GB, and how many are written together


def streaming(data: Path) -> list[Line]:
    """Measure the thesis's perceptron on a warm file, and the memory that a run on a large file takes."""
    warm = make_images(data.parent / "warm.npz", samples=SAMPLES)
    found = []
    for launcher, more in (("sim", ["workers=1", "launcher.width=1"]), ("ray", ["workers=2"])):
        speeds: dict[str, list[float]] = {"false": [], "true": []}
        for resident in ("true", "false", "false", "true"):
            warm.read_bytes()
            settings = [f"launcher={launcher}", *more, "stop.updates=40", f"dataset.resident={resident}"]
            result = run(*THESIS, *settings, data=warm)
            if launcher == "sim":
                speeds[resident].append(result.commits["steps"].sum() / result.info["train_s"])
            else:  # from the fourth commit on: first windows touch their memory for the first time
                times = result.commits["time_s"]
                speeds[resident].append(result.commits["steps"].iloc[4:].sum() / (times.iloc[-1] - times.iloc[3]))
        streamed, on_device = (statistics.mean(speeds[name]) for name in ("false", "true"))
        what = f"{launcher}: steps/s from a warm file over the device, thesis MLP"
        detail = f"{streamed:.1f} over {on_device:.1f} steps/s"
        found.append(Line(what, streamed / on_device, "ratio", ">= 0.95", detail))
    warm.unlink()
    return [*found, large_file(data.parent / "large.npz")]


def large_file(path: Path) -> Line:
    """Measure the largest anonymous memory, which leaves out the page cache, of a run on a file of 4.1 GB."""
    _write(path)
    settings = ["dataset=npz", f"dataset.file={path}", "model=logistic", "launcher=sim", "workers=4", *LIMITED]
    with tempfile.TemporaryDirectory(dir=path.parent) as output:
        command = [sys.executable, "-m", "distopt", "run", *settings, "stop.updates=200", f"output={output}"]
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peak, status = 0, Path(f"/proc/{run.pid}/status")
        while run.poll() is None:
            told = dict(line.split(":", 1) for line in status.read_text().splitlines())
            peak = max(peak, int(told.get("RssAnon", "0 kB").split()[0]) << 10)
            time.sleep(0.05)
    path.unlink()
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    detail = "anonymous memory of logistic regression with 4 workers"
    return Line("sim: peak memory on a file of 4.1 GB", peak / 2**20, "MiB", "<= 1024", detail)


def _write(path: Path) -> None:
    """Write random samples of 784 numbers in 10 classes, a part at a time."""
    rng = np.random.default_rng(0)
    header = {"descr": "<f4", "fortran_order": False, "shape": (HUGE, 784)}
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        with archive.open("train_x.npy", "w", force_zip64=True) as file:
            npy.write_array_header_1_0(file, header)
            for _ in range(HUGE // TOGETHER):
                file.write(rng.random((TOGETHER, 784), np.float32).tobytes())
        with archive.open("train_y.npy", "w") as file:
            npy.write_array(file, rng.integers(0, 10, HUGE))
