"""`distopt calibrate`: estimate a cluster model from a real run, and compare virtual time with the run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from distopt.cluster.calibrate import Calibration
    from distopt.runs.results import Run

HELP = "estimate a cluster model from a run with launcher=ray; --simulate compares virtual time with the run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", metavar="DIR", help="the folder of a finished run with launcher=ray")
    parser.add_argument(
        "--output", metavar="FILE.yaml", help="the cluster file; default: DIR/calibration/cluster/calibrated.yaml"
    )
    parser.add_argument("--simulate", action="store_true", help="repeat the run in virtual time and print the errors")
    parser.add_argument("--format", choices=("table", "json"), default="table", help="default: table")


def main(args: argparse.Namespace) -> int:
    """Write the cluster file; print the estimates and, after a simulation, the errors."""
    from distopt.cluster.calibrate import calibrate, to_yaml
    from distopt.errors import ResultsError
    from distopt.runs import results

    real = results.load(args.folder)
    _check(real)
    found = calibrate(real.commits)
    path = Path(args.output or real.folder / "calibration" / "cluster" / "calibrated.yaml")
    settings = found.settings(path.stem)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_yaml(settings, f"calibrated on {real.folder.name}"), encoding="utf-8")
    except OSError as error:
        raise ResultsError(f"--output={path}: cannot be written ({error.strerror}); choose another file") from None
    table, files = _simulate(real, settings) if args.simulate else (None, [])
    print(_json(found, settings, path, table, files) if args.format == "json" else _text(found, path, table, files))
    return 0


def _check(real: "Run") -> None:
    """Refuse runs whose times are not measured, and runs that are not finished."""
    from distopt.errors import ResultsError

    launcher = real.config.get("launcher", {}).get("name")
    if launcher != "ray":
        raise ResultsError(f"{real.folder}: is a run with launcher={launcher}; only launcher=ray measures real times")
    if not real.finished:
        raise ResultsError(f"{real.folder}: the run is {real.status}; only a finished run can be calibrated on")


def _simulate(real: "Run", settings: dict[str, Any]) -> tuple["pd.DataFrame", list[Path]]:
    """Run the same configuration in virtual time on the estimated cluster; return the errors and the files written."""
    from rich.console import Console

    from distopt import config
    from distopt.errors import ResultsError
    from distopt.report.figures import calibration
    from distopt.runner import run as runner

    folder = real.folder / "calibration"
    launcher = dict(config.compose(["launcher=sim"]).launcher)
    changes: dict[str, Any] = {"launcher": launcher, "cluster": settings, "output": str(folder / "simulated")}
    changes |= {"name": None, "trackers": [], "trackers_output": None}
    simulated = runner.run(real.config | changes, Console(stderr=True))
    if not simulated.finished:
        raise ResultsError(f"{simulated.folder}: the simulation is {simulated.status}: {simulated.info['reason']}")
    return calibration.errors(real, simulated), calibration.plot(real, simulated, folder)


def _estimates(found: "Calibration") -> dict[str, float]:
    return {
        "commits": found.commits,
        "step_s": found.step.seconds,
        "step_cv": found.step.variation,
        "spread": found.spread,
        "exchange_s": found.exchange_s,
        "latency_s": found.latency_s,
        "server_s": found.server.seconds,
        "server_recorded_s": found.recorded_server_s,
        "server_cv": found.server.variation,
        "start_s": found.start_s,
    }


def _json(
    found: "Calibration", settings: dict[str, Any], path: Path, table: "pd.DataFrame | None", files: list[Path]
) -> str:
    import json

    from distopt.report.table import records

    values: dict[str, Any] = {"file": str(path), "cluster": settings, "estimates": _estimates(found)}
    errors = None if table is None else records(table)
    return json.dumps(values | {"errors": errors, "figures": [str(file) for file in files]}, indent=1)


def _text(found: "Calibration", path: Path, table: "pd.DataFrame | None", files: list[Path]) -> str:
    ms = {name: f"{1000 * value:.4g} ms" for name, value in _estimates(found).items() if name.endswith("_s")}
    lines = [
        f"step      {ms['step_s']}, cv {found.step.variation:.3g}, spread across workers {found.spread:.3g}",
        f"exchange  {ms['exchange_s']} with waiting, of which latency {ms['latency_s']} both ways together",
        f"server    {ms['server_s']} per commit, of which it recorded {ms['server_recorded_s']}; "
        f"cv {found.server.variation:.3g}",
        f"start     {ms['start_s']} before the first local step ({found.commits:,} commits)",
        "",
    ]
    if table is not None:
        from distopt.report.table import render

        words = ["–" if error != error else f"{error:+.1f} %" for error in table["error_percent"]]
        lines += [render(table.assign(error_percent=words), "table", {"error_percent": "error"}), *map(str, files)]
    return "\n".join([*lines, f"cluster: {path}", _usage(path)])


def _usage(path: Path) -> str:
    """Return how to use the file with Hydra."""
    if path.suffix == ".yaml" and path.parent.name == "cluster":
        return f"use it: distopt run --config-dir {path.parent.parent} launcher=sim cluster={path.stem}"
    return "use it: put it into a folder named `cluster` in FOLDER; distopt run --config-dir FOLDER cluster=NAME"
