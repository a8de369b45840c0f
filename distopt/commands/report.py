"""`distopt report`: write one self-contained page over runs."""

import argparse
import sys
from pathlib import Path

from distopt.commands import finite

HELP = "write one self-contained page over runs: answers, tables, interactive curves, provenance"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("paths", nargs="+", metavar="DIR", help="a run's folder, or a folder with runs below it")
    parser.add_argument(
        "--output", type=Path, help="file; default: report.html in the one DIR given, else ./report.html"
    )
    parser.add_argument("--reference", help="run, configuration or optimizer that efficiency is relative to")
    parser.add_argument(
        "--target", type=finite, help="value to reach; default: the best that every finished run reached"
    )
    parser.add_argument("--metric", help="such as accuracy or loss; default: the primary one of the runs")
    parser.add_argument("--split", choices=("validation", "train"), help="default: validation where there is one")


def main(args: argparse.Namespace) -> int:
    """Write the page and print its path; return 1 if a folder could not be read or there is no run."""
    from distopt.errors import ResultsError
    from distopt.report import page
    from distopt.report.comparison.compare import compare_runs
    from distopt.runs.results import load_all

    runs, problems = load_all(args.paths)
    readable = []
    for run in runs:
        try:
            _ = run.commits  # read now, so that a damaged table is named here
            readable.append(run)
        except ResultsError as error:
            problems.append(str(error))
    if readable:
        chosen = {"reference": args.reference, "target": args.target, "metric": args.metric, "split": args.split}
        folder = Path(args.paths[0]) if len(args.paths) == 1 else Path()
        print(page.write(compare_runs(readable, **chosen), problems, args.output or folder / "report.html"))
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} skipped, {len(readable)} in the report", file=sys.stderr)
    return 1 if problems else 0
