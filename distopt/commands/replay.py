"""`distopt replay`: repeat a recorded run and compare the final center bit by bit."""

import argparse

HELP = "repeat a run in its recorded commit order; exit 0 only if the final center is bit-identical"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `distopt replay`."""
    parser.add_argument("folder", metavar="DIR", help="the folder of a run")


def main(args: argparse.Namespace) -> int:
    """Replay, compare, and say what was found."""
    import tempfile

    import numpy as np

    from distopt import results, runner
    from distopt.errors import ResultsError

    recorded = results.load(args.folder)
    if not (recorded.folder / "model.npz").is_file():
        raise ResultsError(f"{recorded.folder}: has no model.npz to compare with; the run is {recorded.status}")
    with tempfile.TemporaryDirectory(prefix="distopt-") as folder:
        launcher = {"name": "replay", "trace": str(recorded.folder.resolve())}
        # The trace ends where the run ended: criteria that ended it need not be evaluated again.
        stop = dict.fromkeys(recorded.config["stop"])
        evaluate = {**recorded.config["evaluate"], "points": 1, "every": None}
        config = {
            **recorded.config,
            "launcher": launcher,
            "stop": stop,
            "evaluate": evaluate,
            "output": folder,
            "name": None,
            "trackers": [],
            "trackers_output": None,
        }
        replayed = runner.run(config)
        if replayed.status != "done":
            raise ResultsError(f"{recorded.folder}: the replay ended as {replayed.status}: {replayed.info['reason']}")
        with np.load(recorded.folder / "model.npz") as old, np.load(replayed.folder / "model.npz") as new:
            if set(old.files) != set(new.files):
                print(f"different: parameters {sorted(old.files)} recorded, {sorted(new.files)} replayed")
                return 1
            pairs = [(old[name], new[name]) for name in old.files]
    commits = len(recorded.commits)
    if all(a.shape == b.shape and a.tobytes() == b.tobytes() for a, b in pairs):
        print(f"identical: {commits} commits replayed, every bit of the final center is the same")
        return 0
    gap = max(float(np.max(np.abs(a - b))) for a, b in pairs)
    print(f"different: {commits} commits replayed, the final centers differ by up to {gap:.3g}")
    return 1
