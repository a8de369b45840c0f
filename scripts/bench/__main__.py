"""Benchmarks of speed and memory: prints a table, and writes JSON with `--json`.

Both sides of a ratio are measured within minutes on the same machine; absolute numbers are for orientation.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scripts.bench.compare import comparison
from scripts.bench.long import flat_memory, many_commits
from scripts.bench.models import model_speed
from scripts.bench.page import report_page
from scripts.bench.server import server_cost
from scripts.bench.sim import simulated_cost, simulated_memory, simulated_throughput
from scripts.bench.streaming import streaming
from scripts.bench.tools import LIMITED, Line, make_images, plain_loop, run

THESIS = ["model=mlp_thesis", "batch_size=128", "optimizer.window=10", *LIMITED]


def main() -> int:
    """Run the chosen benchmarks and print their results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(BENCHMARKS), action="append", help="default: all")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="distopt-bench-") as folder:
        data = Path(folder) / "images.npz"
        make_images(data)
        for name in args.only or BENCHMARKS:
            found = BENCHMARKS[name](data)
            lines += found
            for line in found:
                print(f"{line.what:<58} {line.value:>8.3g} {line.unit:<8} {line.target:<10} {line.detail}", flush=True)
    if args.json:
        args.json.write_text(json.dumps([line._asdict() for line in lines], indent=2))
    return 0


def ray_throughput(data: Path) -> list[Line]:
    """Measure gradient steps per second of real workers over those of the plain loop."""
    found = []
    for workers, target in ((2, ">= 0.95"), (16, ">= 0.93")):
        before = plain_loop(THESIS, data)
        updates = max(5 * workers, 60)
        commits = run(*THESIS, "dataset=npz", f"workers={workers}", f"stop.updates={updates}", data=data).commits
        after = plain_loop(THESIS, data)
        warm = commits.iloc[workers:]  # the first window of each worker touches its memory for the first time
        speed = warm["steps"].sum() / (warm["time_s"].max() - commits["time_s"].iloc[workers - 1])
        plain = statistics.mean((before, after))
        detail = f"{speed:.1f} over {plain:.1f} steps/s (plain loop before {before:.1f}, after {after:.1f})"
        found.append(
            Line(f"ray: steps/s over plain loop, thesis MLP, {workers} workers", speed / plain, "ratio", target, detail)
        )
    return found


def exchange(data: Path) -> list[Line]:
    """Measure an exchange of 19.2 MB over a memory copy, and over the plainest actor that returns the same array."""
    result = run(
        *THESIS,
        "dataset=npz",
        "optimizer=downpour",
        "workers=1",
        "batch_size=1",
        "optimizer.window=1",
        "stop.updates=60",
        data=data,
    )
    ours = 1e3 * result.commits["exchange_s"].iloc[10:].median()
    size = int(result.commits["bytes_up"].iloc[0])
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    copy = 1e3 * _median_seconds(lambda: np.copyto(target, source))
    plain = 1e3 * _plainest_actor(size)
    name = f"exchange of {size / 1e6:.1f} MB"
    return [
        Line(f"{name} over a memory copy", ours / copy, "ratio", "", f"{ours:.1f} ms over {copy:.1f} ms"),
        Line(f"{name} over the plainest actor", ours / plain, "ratio", "<= 0.5", f"{ours:.1f} ms over {plain:.1f} ms"),
    ]


def _median_seconds(work: Callable[[], Any], repeats: int = 30) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[repeats // 4 :])


def _plainest_actor(size: int) -> float:
    import ray

    class Echo:
        def echo(self, array: np.ndarray) -> np.ndarray:
            return array

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    actor = ray.remote(Echo).options(num_cpus=0).remote()
    array = np.ones(size, np.uint8)
    seconds = _median_seconds(lambda: ray.get(actor.echo.remote(array)))
    ray.shutdown()
    return seconds


def start_up(data: Path) -> list[Line]:
    """Measure the seconds from the command to the first commit, with 16 workers."""
    result = run("workers=16", data=data)
    first = result.info["startup_s"] + result.info["compile_s"] + result.commits["time_s"].iloc[0]
    detail = f"start-up {result.info['startup_s']:.1f} s, compilation {result.info['compile_s']:.1f} s"
    return [Line("ray: command to first commit, 16 workers, digits", first, "s", "<= 10", detail)]


def memory(data: Path) -> list[Line]:
    """Measure the peak memory of a worker beyond parameters, optimizer state and data."""
    result = run(*THESIS, "dataset=npz", "workers=16", "stop.updates=48", data=data)
    state = 4 * 3 * result.info["parameters"]  # parameters and both moments of Adam
    data_bytes = 12_000 * (784 + 1) * 4
    actors = result.info["actors"]
    peak = sum(actor["peak_memory_bytes"] for actor in actors)
    each = (peak - 16 * state - len(actors) * data_bytes) / 16
    detail = f"{peak / 2**20:.0f} MiB in {len(actors)} actors; parameters and Adam take {state / 2**20:.0f} MiB each"
    return [Line("ray: peak memory per worker beyond its state, thesis MLP", each / 2**20, "MiB", "", detail)]


BENCHMARKS: dict[str, Callable[[Path], list[Line]]] = {
    "throughput": ray_throughput,
    "exchange": exchange,
    "start": start_up,
    "memory": memory,
    "server": server_cost,
    "sim": simulated_throughput,
    "sim-cost": simulated_cost,
    "sim-memory": simulated_memory,
    "models": model_speed,
    "streaming": streaming,
    "long": flat_memory,
    "million": many_commits,
    "compare": comparison,
    "page": report_page,
}

if __name__ == "__main__":
    raise SystemExit(main())
