"""A run whose processes are killed and stopped at moments drawn from a seed, and whose calls get lost."""

import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import pyarrow as pa

from scripts.chaos.node import OPEN, Node
from scripts.tools.processes import Launched

STOP_S = (0.2, 1.0)  # shortest and longest stop of a process
CALLS = 0.02  # probability of each kind of fault of a call
NAME = "run"


class Fault(NamedTuple):
    """A fault in the processes of a run."""

    kind: str  # "worker killed", "worker stopped", "worker silenced", "server killed" or "node removed"
    after: float  # happens once this share of the run's commits is recorded


def plan(rng: random.Random, kills: int, stops: int) -> list[Fault]:
    """Draw faults and their moments in the first half of a run; later there may be no process left to disturb."""
    kinds = ["worker killed"] * kills + ["worker stopped"] * stops
    rng.shuffle(kinds)
    moments = sorted(rng.uniform(0.05, 0.5) for _ in kinds)
    return [Fault(*fault) for fault in zip(kinds, moments, strict=True)]


def disturbed(
    folder: Path,
    overrides: Sequence[str],
    seed: int,
    faults: Sequence[Fault],
    commits: int,
    node: Node | None = None,
) -> tuple[Path, list[str]]:
    """Train in `folder` and cause the planned faults.

    Args:
        folder: the command's working directory; must not exist.
        overrides: of `distopt run`.
        seed: decides the faults of calls and the processes that are hit.
        faults: the faults in processes.
        commits: the expected number of commits.
        node: the second node of the cluster that the run joins, if it is to be removed.

    Returns:
        the run's folder, and the kinds of the faults that happened before the run ended.
    """
    folder.mkdir(parents=True)
    chaos = f"{{seed:{seed},request:{CALLS},reply:{CALLS},late:{CALLS},twice:{CALLS}}}"
    command = ["run", f"name={NAME}", f"launcher.chaos={chaos}", *overrides]
    run = folder / "results" / NAME
    rng = random.Random(seed)
    done = []
    with Launched(*command, cwd=folder, **(OPEN if node else {})) as launched:
        for fault in faults:
            while launched.process.poll() is None and recorded(run) < fault.after * commits:
                launched.processes()
                time.sleep(0.05)
            if _hit(launched, rng, fault.kind, node):
                done.append(fault.kind)
        code = launched.end()
        left = launched.left_over()
    if code or left:
        raise SystemExit(f"{folder}: exit code {code}, processes left: {left}\n{launched.output}")
    return run, done


def _hit(launched: Launched, rng: random.Random, kind: str, node: Node | None) -> bool:
    """Cause a fault in a node, the server or a worker actor; return whether there was one to hit."""
    if kind == "node removed":
        assert node is not None
        return node.remove() > 0
    try:
        victim = launched.server() if kind == "server killed" else rng.choice(launched.workers())
        if kind in ("worker killed", "server killed"):
            victim.kill()
            return True
        victim.send_signal(signal.SIGSTOP)
        if kind == "worker silenced":
            return True
        time.sleep(rng.uniform(*STOP_S))
        victim.send_signal(signal.SIGCONT)
    except (IndexError, psutil.Error):
        return False
    return True


def recorded(run: Path) -> int:
    """Return the number of recorded commits of a run under way."""
    rows = 0
    try:
        with (run / "commits.arrow").open("rb") as file:
            for batch in pa.ipc.open_stream(file):
                rows += batch.num_rows
    except (OSError, pa.ArrowException):
        pass
    return rows
