"""Long runs: the growth of memory over 100,000 commits, and the cost of reading a million commits."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

import distopt
from scripts.bench.tools import Line
from scripts.tools import folders

COMMITS = 100_000
TINY = ["model=booth", "dataset=none", "local=sgd", "local.learning_rate=1e-4", "optimizer=agn", "optimizer.window=1"]
PROCESSES = {"ServerHost": "server", "WorkerHost": "workers"}  # by their names in Ray
READERS = ("plot", "compare", "report")
Samples = dict[str, list[tuple[float, float]]]  # seconds and MiB of each process


def flat_memory(data: Path) -> list[Line]:
    """Measure the MiB that each process gains per 100,000 commits, by a line through samples after the first fifth."""
    found = []
    for launcher in ("ray", "sim"):
        output = tempfile.mkdtemp(dir=data.parent)
        samples = _watched(launcher, output)
        (folder,) = Path(output).iterdir()
        run = distopt.load(folder)
        for name, points in samples.items():
            seconds, mib = np.array(points).T
            late = seconds > seconds[-1] - 0.8 * run.info["train_s"]
            slope = np.polyfit(seconds[late], mib[late], 1)[0]
            gained = slope * run.info["train_s"] * COMMITS / len(run.commits)
            what = f"{launcher}: memory gained per {COMMITS:,} commits, {name}"
            found.append(Line(what, float(gained), "MiB", "<= 10", f"{mib[late].mean():.0f} MiB on average"))
    return found


def _watched(launcher: str, output: str) -> Samples:
    """Run `COMMITS` commits, and return samples of each process's own memory."""
    settings = [f"launcher={launcher}", "workers=2", f"stop.updates={COMMITS}", f"output={output}", *TINY]
    command = [sys.executable, "-m", "distopt", "run", *settings]
    samples: Samples = {}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        driver = psutil.Process(started.pid)
        while started.poll() is None and not list(Path(output).glob("*/commits.parquet")):
            _sample(driver, samples)
            time.sleep(0.5)
    if started.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {started.returncode}")
    return samples


def _sample(driver: psutil.Process, samples: Samples) -> None:
    now, sizes = time.monotonic(), dict.fromkeys(PROCESSES.values(), 0.0)
    try:
        for process in [driver, *driver.children(recursive=True)]:
            title = " ".join(process.cmdline())
            name = (
                "driver" if process == driver else next((PROCESSES[h] for h in PROCESSES if f"ray::{h}" in title), "")
            )
            if name:
                memory = process.memory_info()
                sizes[name] = sizes.get(name, 0.0) + (memory.rss - memory.shared) / 2**20
        virtual = "sim" in " ".join(driver.cmdline())
    except psutil.Error:  # a process ended in the meantime
        return
    if virtual or all(sizes.values()):
        for name, size in sizes.items():
            if size:
                samples.setdefault(name, []).append((now, size))


def many_commits(data: Path) -> list[Line]:
    """Measure seconds and peak memory of the commands that read a run of a million commits."""
    folder = data.parent / "million" / "run"
    folders.write(
        folder, commit_rows=folders.commits(16, updates=1_000_000), eval_rows=folders.evals(updates=1_000_000)
    )
    found = []
    for name in READERS:
        seconds, mib = _measured(
            name, str(folder), *(["--output", str(folder / "page.html")] if name == "report" else [])
        )
        found.append(Line(f"{name}: a run of 1,000,000 commits", seconds, "s", "<= 20", f"peak memory {mib:.0f} MiB"))
    shutil.rmtree(folder.parent)
    return found


def _measured(*arguments: str) -> tuple[float, float]:
    """Return the seconds and the peak memory (MiB) of a command."""
    peak = "import resource, sys; from distopt.cli import main; code = main(sys.argv[1:]); sys.stdout = sys.stderr; "
    peak += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024); sys.exit(code)"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", peak, *arguments], check=True, capture_output=True, text=True)
    return time.perf_counter() - began, float(done.stderr.split()[-1])
