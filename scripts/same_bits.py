"""Check whether a change of the code changed a number: short runs of one checkout against those of another.

    python -m scripts.same_bits record bits --checkout ../before     # with the old code
    python -m scripts.same_bits compare bits                         # with the new code: exit 0 if all is equal

Every checkout needs its own `.venv` (`make .venv/.ready`). Both checkouts make the runs in virtual time, which are
compared: the final center bit by bit, the tables `commits`, `evals` and `events` value by value. Runs on real processes
have another order every time, so the recorded ones are replayed. Columns that only the new code has are listed, but do
not count as a difference.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from scripts.tools.command import ROOT

SMALL = ["model=mlp", "model.hidden=[16]", "batch_size=16", "epochs=1", "workers=5", "evaluate.points=3"]
SIM = ["launcher=sim", "cluster=heterogeneous", "optimizer.window=3", *SMALL]
RAY = ["launcher=ray", "optimizer.window=3", *SMALL]
TABLES = ("commits", "evals", "events")
VIRTUAL, REAL, CASES = "virtual", "real", "cases.json"
CHUNK = 6  # cases per process: enough to share imports, few enough that compiled programs do not pile up

#: variants of an optimizer, settings without `optimizer.`
VARIANTS = {
    "adag": ("form=norm", "form=squared", "placement=message", "placement=worker"),
    "aeasgd": ("atomic=false", "equilibrium=relative"),
    "agn": ("commit=gradient",),
    "async_diloco": ("dynamic=true", "period=3 spread=0.5"),
    "downpour": ("fetch=2", "warm_start=4", "server={name:adagrad,learning_rate:0.01,initial_accumulator_value:0.1}"),
    "eamsgd": ("synchronous=true",),
    "easgd": ("equilibrium=relative",),
    "fedasync": ("weighting=hinge", "proximal=0.1"),
    "fedopt": ("server.name=yogi",),
    "ringmaster": ("threshold=2",),
    "ssp": ("bound=1",),
    "zealous": ("explore=false",),
}
COMPRESSED = ("bf16", "int8", "topk", "sign", "qsgd", "powersgd")
REPLAYED = ("adag", "ssp", "gem", "sandblaster", "rennala", "easgd", "backup")
WORKER = """
import json, sys, distopt
from distopt.errors import DistoptError
for case in json.load(sys.stdin):
    try:
        distopt.run([*case["overrides"], "name=" + case["name"]])
    except DistoptError as error:
        print(case["name"], "ended:", error, file=sys.stderr)
"""


class Case(NamedTuple):
    """A run with its name."""

    name: str
    overrides: list[str]


def cases(optimizers: Sequence[str]) -> Iterator[Case]:
    """Yield all runs that each checkout makes itself."""
    for name in optimizers:
        yield Case(f"single-{name}", [*SIM, f"optimizer={name}", "launcher.width=1"])
        yield Case(f"vectorized-{name}", [*SIM, f"optimizer={name}", "launcher.width=16", "workers=7"])
    for name, variants in VARIANTS.items():
        for i, words in enumerate(variants):
            settings = [f"optimizer.{setting}" for setting in words.split()]
            yield Case(f"variant-{name}-{i}", [*SIM, f"optimizer={name}", *settings])
    for name in COMPRESSED:
        yield Case(f"compressed-{name}", [*SIM, "optimizer=downpour", f"compression={name}", "launcher.width=1"])
    yield Case("compressed-vectorized", [*SIM, "optimizer=agn", "compression=int8", "launcher.width=16"])
    yield Case("compressed-elastic", [*SIM, "optimizer=aeasgd", "compression=bf16"])
    failing = ["cluster.failures.mean_time_s=0.1", "cluster.failures.downtime_s=0.05"]
    for name in ("adag", "averaging", "rennala", "ssp", "backup"):
        yield Case(f"failing-{name}", [*SIM, f"optimizer={name}", *failing, "launcher.width=1"])
    yield Case("failing-vectorized", [*SIM, "optimizer=adag", *failing, "launcher.width=16"])
    network = ["cluster=ethernet_1g", "cluster.network.shared=true", "cluster.server.seconds=0.004"]
    yield Case("network", [*SIM, *network, "optimizer=agn", "cluster.server.law=exponential"])
    yield Case("stragglers", [*SIM, "cluster=stragglers", "optimizer=backup", "optimizer.backups=2"])
    yield Case("dirichlet", [*SIM, "optimizer=fedbuff", "dataset.partition=dirichlet"])
    yield Case("dropped", [*SIM, "optimizer=downpour", "local=sgd", "local.learning_rate=1e30", "on_bad_commit=drop"])
    yield Case("diverged", [*SIM, "optimizer=downpour", "local=sgd", "local.learning_rate=1e30"])
    yield Case("diagnostics", [*SIM, "optimizer=dynsgd", "diagnostics=[progress]"])
    yield Case("reset", [*SIM, "optimizer=adag", "local=momentum", "local.on_pull=reset"])
    yield Case("dropout", [*SIM, "optimizer=adag", "model.dropout=0.2"])
    yield Case("stop-accuracy", [*SIM, "optimizer=adag", "epochs=20", "stop.accuracy=0.5", "evaluate.every=5"])
    yield Case("stop-updates", [*SIM, "optimizer=rennala", "epochs=null", "stop.updates=17"])
    yield Case("stop-seconds", [*SIM, "optimizer=averaging", "epochs=null", "stop.seconds=0.5"])
    yield Case("cnn", ["launcher=sim", "optimizer=agn", "model=cnn", "epochs=0.2", "workers=2"])
    plane = ["dataset=none", "epochs=null", "stop.updates=40", "launcher=sim", "local=sgd", "local.learning_rate=0.001"]
    yield Case("beale", [*plane, "model=beale", "optimizer=aeasgd", "workers=3"])
    yield Case("quadratic", [*plane, "model=quadratic", "optimizer=downpour", "workers=3"])


def real() -> Iterator[Case]:
    """Yield the runs on real processes, recorded once and then replayed."""
    for name in REPLAYED:
        yield Case(f"real-{name}", [*RAY, f"optimizer={name}"])
    yield Case("real-compressed", [*RAY, "optimizer=downpour", "compression=topk"])


def resumed() -> Case:
    """Return the run that is killed in its middle and resumed."""
    return Case("resumed", [*SIM, "optimizer=adag", "epochs=30", "checkpoint.every=20", "launcher.width=1"])


def python(checkout: Path) -> str:
    """Return the interpreter of a checkout; end the program if there is none."""
    found = checkout / ".venv" / "bin" / "python"
    if not found.exists():
        sys.exit(f"{found} does not exist: run `make .venv/.ready` in {checkout}")
    return str(found)


def make(some: Sequence[Case], checkout: Path, output: Path) -> None:
    """Carry out some runs in one process of a checkout."""
    given = json.dumps([{"name": c.name, "overrides": [*c.overrides, f"output={output}"]} for c in some])
    subprocess.run([python(checkout), "-c", WORKER], cwd=output, input=given, text=True, stdout=subprocess.DEVNULL)


def make_resumed(checkout: Path, output: Path) -> None:
    """Kill a run once it has written a checkpoint, and resume it."""
    case, command = resumed(), [python(checkout), "-m", "distopt", "run"]
    arguments = [*command, *case.overrides, f"output={output}", f"name={case.name}"]
    process = subprocess.Popen(arguments, cwd=output, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list((output / case.name / "checkpoints").glob("*.json")):
        time.sleep(0.05)
    process.kill()
    process.wait()
    subprocess.run([*command, f"resume={output / case.name}"], cwd=output, stdout=subprocess.DEVNULL)


def produce(some: Sequence[Case], checkout: Path, output: Path, processes: int) -> None:
    """Carry out the runs in virtual time that do not exist yet."""
    output.mkdir(parents=True, exist_ok=True)
    some = [case for case in some if not (output / case.name).exists()]
    with ThreadPoolExecutor(processes) as pool:
        tasks = [pool.submit(make, some[i : i + CHUNK], checkout, output) for i in range(0, len(some), CHUNK)]
        if not (output / resumed().name).exists():
            tasks.append(pool.submit(make_resumed, checkout, output))
        for task in tasks:
            task.result()


def record(folder: Path, checkout: Path, only: str, processes: int) -> int:
    """Carry out and keep all runs of a checkout; return the exit code."""
    optimizers = sorted(path.stem for path in (checkout / "conf" / "optimizer").glob("*.yaml"))
    some = [case for case in cases(optimizers) if only in case.name]
    produce(some, checkout, folder / VIRTUAL, processes)
    (folder / REAL).mkdir(exist_ok=True)
    on_ray = [case for case in real() if only in case.name and not (folder / REAL / case.name).exists()]
    make(on_ray, checkout, folder / REAL)
    (folder / CASES).write_text(json.dumps([case._asdict() for case in some]))
    made = {path.parent.name for path in folder.glob("*/*/model.npz")}
    missing = [case.name for case in (*some, *real(), resumed()) if only in case.name and case.name not in made]
    print(f"{len(made)} runs recorded in {folder}" + (f"; no center: {', '.join(missing)}" if missing else ""))
    return 1 if missing else 0


def compare(folder: Path, checkout: Path, only: str, processes: int) -> int:
    """Repeat the recorded runs with another checkout and print differences; return the exit code."""
    some = [case for case in (Case(**told) for told in json.loads((folder / CASES).read_text())) if only in case.name]
    different = 0
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch) / VIRTUAL
        produce(some, checkout, again, processes)
        for case in (*some, resumed()):
            problems, added = differences(folder / VIRTUAL / case.name, again / case.name)
            different += bool(problems)
            told = "; ".join(problems) or "same" + (f" (new: {', '.join(added)})" if added else "")
            print(f"{case.name}: {told}", flush=True)
        for old in sorted(path for path in (folder / REAL).iterdir() if path.is_dir() and only in path.name):
            copy = shutil.copytree(old, Path(scratch) / REAL / old.name)
            command = [python(checkout), "-m", "distopt", "replay", str(copy)]
            ended = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
            different += ended.returncode != 0
            print(f"{old.name}: {(ended.stdout + ended.stderr).strip().splitlines()[-1]}", flush=True)
    print(f"{different} runs differ" if different else "all runs are the same, every bit")
    return 1 if different else 0


def differences(old: Path, new: Path) -> tuple[list[str], list[str]]:
    """Return the differences between the results of two runs, and the columns that only the second one has."""
    if not (new / "model.npz").is_file():
        return ["no center"], []
    problems, added = [], []
    with np.load(old / "model.npz") as a, np.load(new / "model.npz") as b:
        if set(a.files) != set(b.files) or any(a[name].tobytes() != b[name].tobytes() for name in a.files):
            problems.append("the center")
    for table in TABLES:
        paths = [run / f"{table}.parquet" for run in (old, new)]
        if not any(path.is_file() for path in paths):
            continue
        if not all(path.is_file() for path in paths):
            problems.append(f"only one has {table}")
            continue
        before, after = map(pd.read_parquet, paths)
        added += sorted(set(map(str, after)) - set(map(str, before)))
        problems += [
            f"{table}.{name}" for name in map(str, before) if name not in after or not _equal(before, after, name)
        ]
    status = [_read(run / "run.json").get("status") for run in (old, new)]
    if status[0] != status[1]:
        problems.append(f"status {status[0]}, now {status[1]}")
    return problems, added


def _equal(before: pd.DataFrame, after: pd.DataFrame, name: str) -> bool:
    return len(before) == len(after) and before[name].equals(after[name])


def _read(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(path.read_text())
    return content


def main() -> int:
    """Run the command."""
    made = argparse.ArgumentParser(prog="python -m scripts.same_bits", description=__doc__)
    made.add_argument("what", choices=["record", "compare"])
    made.add_argument("folder", type=Path, help="where the recorded runs are")
    made.add_argument("--checkout", type=Path, default=ROOT, help="whose code is run")
    made.add_argument("--only", default="", help="only runs with this in their name")
    made.add_argument("--processes", type=int, default=2, help="runs at the same time")
    given = made.parse_args()
    act = {"record": record, "compare": compare}[given.what]
    return act(given.folder.absolute(), given.checkout.absolute(), given.only, given.processes)


if __name__ == "__main__":
    sys.exit(main())
