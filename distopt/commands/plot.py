"""`distopt plot`: draw figures over runs."""

import argparse
import sys
from pathlib import Path

from distopt.commands import finite

HELP = "draw convergence, staleness, efficiency, scaling and what else runs allow, as PNG and SVG"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("paths", nargs="+", metavar="DIR", help="a run's folder, or a folder with runs below it")
    parser.add_argument(
        "--x", choices=("time", "updates", "samples", "bytes", "epochs"), default="time", help="axis; default: time"
    )
    parser.add_argument("--metric", action="append", help="draw only this, such as accuracy or loss; default: all")
    parser.add_argument("--reference", help="run, configuration or optimizer that differences are relative to")
    parser.add_argument(
        "--target", type=finite, help="value to reach; default: the best that every finished run reached"
    )
    parser.add_argument(
        "--animate",
        action="store_true",
        help="also write paths.gif of runs on a function of the plane (model=beale, ...)",
    )
    parser.add_argument("--output", help="folder for the figures; default: plots/ in the one DIR given, else ./plots")


def main(args: argparse.Namespace) -> int:
    """Write the figures and print their paths; return 1 if a folder could not be read or there is no run."""
    from distopt.errors import ResultsError
    from distopt.report.figures.animation import animate
    from distopt.report.figures.plots import MANY, plot_run, plot_runs
    from distopt.runs.results import load_all

    runs, problems = load_all(args.paths)
    readable = []
    for run in runs:
        try:
            _ = run.commits  # read on first access, where a damaged table is noticed
        except ResultsError as error:
            problems.append(str(error))
        else:
            readable.append(run)
    default = Path(args.paths[0]) / "plots" if len(args.paths) == 1 else Path("plots")
    written: list[Path] = []
    if readable:
        chosen = {"reference": args.reference, "target": args.target}
        written = plot_runs(readable, args.output or default, args.x, args.metric, **chosen)
        print(*written, sep="\n")
    if len(readable) <= MANY:  # with more runs this takes long, and every run drew its figures when it ended
        for run in readable:
            print(*plot_run(run, run.folder / "plots", args.x, written), sep="\n")
    if args.animate:
        try:
            print(*animate(readable, Path(args.output or default)), sep="\n")
        except ResultsError as error:
            problems.append(str(error))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} skipped, {len(readable)} drawn", file=sys.stderr)
    return 1 if problems else 0
