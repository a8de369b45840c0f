"""`distopt replay`: repeat a recorded run and compare the final center bit by bit."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

HELP = "repeat a run in its recorded commit order; exit 0 only if the final center is bit-identical"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `distopt replay`."""
    parser.add_argument("folder", metavar="DIR", help="the folder of a run")


def main(args: argparse.Namespace) -> int:
    """Replay the run, compare the final centers and print the result; return 0 only if they are bit-identical."""
    import tempfile

    import numpy as np

    from distopt.errors import ResultsError
    from distopt.runner import run as runner
    from distopt.runs import results

    recorded = results.load(args.folder)
    if not (recorded.folder / "model.npz").is_file():
        raise ResultsError(f"{recorded.folder}: has no model.npz to compare with; the run is {recorded.status}")
    with tempfile.TemporaryDirectory(prefix="distopt-") as folder:
        launcher = {"name": "replay", "trace": str(recorded.folder.resolve())}
        # The trace ends where the run ended, so the criteria that ended it need not be evaluated.
        stop = dict.fromkeys(("updates", "seconds", "accuracy", "loss", "metric", "target"))
        evaluate = {**recorded.config.get("evaluate", {}), "points": 1, "every": None}
        config = {
            **recorded.config,
            "launcher": launcher,
            "stop": stop,
            "evaluate": evaluate,
            "checkpoint": {"every": None, "seconds": None},
            "resume": None,
            "output": folder,
            "name": None,
            "trackers": [],
            "trackers_output": None,
        }
        replayed = runner.run(config)
        if replayed.status != "done":
            raise ResultsError(f"{recorded.folder}: the replay ended as {replayed.status}: {replayed.info['reason']}")
        old, new = (_center(folder) for folder in (recorded.folder, replayed.folder))
        shapes, replayed_shapes = ({name: array.shape for name, array in sorted(c.items())} for c in (old, new))
        if shapes != replayed_shapes:
            print(f"different: parameters {shapes} recorded, {replayed_shapes} replayed")
            return 1
        pairs = [(old[name], new[name]) for name in old]
    commits = len(recorded.commits)
    if all(a.tobytes() == b.tobytes() for a, b in pairs):
        print(f"identical: {commits} commits replayed, every bit of the final center is the same")
        return 0
    gap = max(float(np.max(np.abs(a - b))) for a, b in pairs)
    print(f"different: {commits} commits replayed, the final centers differ by up to {gap:.3g}")
    return 1


def _center(folder: Path) -> "dict[str, np.ndarray]":
    from distopt.errors import ResultsError
    from distopt.files.npz import read_arrays
    from distopt.files.untrusted import BROKEN, reason

    path = folder / "model.npz"
    try:
        arrays = read_arrays(path)
    except BROKEN as error:
        raise ResultsError(f"{path}: cannot be read ({reason(error)}); repeat the run") from None
    if strange := [name for name, array in arrays.items() if array.dtype.kind not in "fiu"]:
        raise ResultsError(f"{path}: array {', '.join(strange)} does not hold numbers; repeat the run")
    return arrays
