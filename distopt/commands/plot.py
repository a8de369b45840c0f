"""`distopt plot`: figures over runs."""

import argparse
import sys
from pathlib import Path

HELP = "draw convergence, staleness and temporal efficiency of runs, as PNG and SVG"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("paths", nargs="+", metavar="DIR", help="a run's folder, or a folder with runs below it")
    parser.add_argument(
        "--x", choices=("time", "updates", "samples", "bytes", "epochs"), default="time", help="axis; default: time"
    )
    parser.add_argument("--metric", choices=("accuracy", "loss"), action="append", help="draw only this; default: both")
    parser.add_argument(
        "--animate",
        action="store_true",
        help="also write paths.gif of runs on a function of the plane (model=beale, ...)",
    )
    parser.add_argument("--output", help="folder for the figures; default: plots/ in the one DIR given, else ./plots")


def main(args: argparse.Namespace) -> int:
    """Write the figures and print their paths; return 1 when a folder could not be read or there is no run."""
    from distopt.errors import ResultsError
    from distopt.metrics.convergence import METRICS
    from distopt.report.animation import animate
    from distopt.report.plots import plot_run, plot_runs
    from distopt.results import load_all

    runs, problems = load_all(args.paths)
    readable = []
    for run in runs:
        try:
            written = plot_run(run, run.folder / "plots", args.x)
        except ResultsError as error:
            problems.append(str(error))
        else:
            readable.append(run)
            print(*written, sep="\n")
    default = Path(args.paths[0]) / "plots" if len(args.paths) == 1 else Path("plots")
    alone = len(readable) == 1 and args.output is None and default == readable[0].folder / "plots"
    if readable and not alone:
        print(*plot_runs(readable, args.output or default, args.x, args.metric or METRICS), sep="\n")
    if args.animate:
        try:
            print(*animate(readable, Path(args.output or default)), sep="\n")
        except ResultsError as error:
            problems.append(str(error))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    return 1 if problems else 0
