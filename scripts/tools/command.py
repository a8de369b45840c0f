"""Common parts of the commands that carry out many runs: options, threads, and exit codes."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the common options."""
    made = argparse.ArgumentParser(prog=f"python -m scripts.{name}", description=description)
    made.add_argument("--runs", type=Path, default=ROOT / "results" / f"{name}-runs", help="where the runs go")
    made.add_argument("--results", type=Path, default=ROOT / "results" / name, help="where the results go")
    made.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1), help="runs at the same time")
    made.add_argument("--list", action="store_true", help="show what it is expected to cost")
    return made


def one_thread_each() -> None:
    """Limit this process and its children to one compute thread each; call it before JAX is imported.

    With as many processes as cores, more threads would only compete.
    """
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")


def finish(carry_out: Callable[[], Sequence[str]], written: Path) -> int:
    """Carry out the runs and write their results; return the exit code: 1 if a run failed, 130 if interrupted.

    Args:
        carry_out: does both, and returns one line per failed run.
        written: the main file of the results.
    """
    try:
        failures = carry_out()
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, the same command goes on", file=sys.stderr)
        return 130
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    print(f"wrote {written}")
    return 1 if failures else 0
