"""Speed and memory of virtual time."""

import statistics
from pathlib import Path

from scripts.bench.tools import LIMITED, Line, make_images, plain_loop, run

SHARED = ["launcher=sim", "dataset=npz", "dataset.partition=shared", *LIMITED]


def simulated_throughput(data: Path) -> list[Line]:
    """Measure worker-steps per second of virtual time over those of the plain loop of one worker."""
    found = []
    small = make_images(data.with_name("small.npz"), (8, 8), 1_400)
    for name, file, workers, updates, target, overrides in (
        ("thesis MLP", data, 20, 60, ">= 0.95", ["model=mlp_thesis", "batch_size=128", "optimizer.window=15"]),
        ("784-128-10", data, 64, 1280, ">= 0.95", ["model.hidden=[128]", "batch_size=128", "optimizer.window=10"]),
        ("64-64-10", small, 64, 6400, ">= 1.5", ["model.hidden=[64]", "batch_size=32", "optimizer.window=10"]),
    ):
        windows = 12 if workers == 20 else 300
        before = plain_loop(overrides, file, windows)
        result = run(*overrides, *SHARED, f"workers={workers}", f"stop.updates={updates}", data=file)
        after = plain_loop(overrides, file, windows)
        speed, plain = result.commits["steps"].sum() / result.info["train_s"], statistics.mean((before, after))
        what = f"sim: steps/s over plain loop, {name}, {workers} workers"
        found.append(Line(what, speed / plain, "ratio", target, f"{speed:,.0f} over {plain:,.0f} worker-steps/s"))
    return found


def simulated_cost(data: Path) -> list[Line]:
    """Measure microseconds per commit for 10 to 10,000 workers, and seconds to the first update on the digits."""
    small = ["model=logistic", "batch_size=8", "optimizer.window=1", "launcher.width=16"]
    cost = {}
    for workers in (10, 100, 1_000, 10_000):
        result = run(*small, *SHARED, f"workers={workers}", "stop.updates=20000", data=data)
        cost[workers] = 1e6 * result.info["train_s"] / len(result.commits)
    detail = ", ".join(f"n={workers:,}: {value:.0f} µs" for workers, value in cost.items())
    first = run("launcher=sim", "workers=16", "stop.updates=1", data=data).info
    seconds = first["startup_s"] + first["compile_s"] + first["train_s"]
    return [
        Line("sim: cost per commit, 10,000 workers over 10", cost[10_000] / cost[10], "ratio", "<= 1.5", detail),
        Line("sim: command to first update, digits", seconds, "s", "<= 6", "start-up, all compilation, one update"),
    ]


def simulated_memory(data: Path) -> list[Line]:
    """Measure the peak memory of 10,000 workers with Adam and a model of about the digits MLP's size."""
    result = run("model.hidden=[6]", *SHARED, "workers=10000", "stop.updates=10000", data=data)
    each = result.info["peak_memory_bytes"] / 2**30
    return [Line("sim: peak memory, 10,000 workers, 4,780 parameters, Adam", each, "GiB", "<= 8", "")]
