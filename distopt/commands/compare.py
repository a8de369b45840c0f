"""`distopt compare`: tables over runs."""

import argparse
import shutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from distopt.report.comparison import Comparison

HELP = "compare runs: convergence, efficiency, staleness and cost of each configuration in a table"

HEADERS = {
    "final_std": "±",
    "time_to_target_s": "time to\ntarget (s)",
    "te_target": "TE\n(target)",
    "te_area": "TE\n(area)",
    "updates_to_target": "updates\nto target",
    "se_target": "SE",
    "samples_per_s": "samples/s",
    "staleness_mean": "staleness",
    "server_busy": "server\nbusy",
    "worker_wait": "workers\nwait",
    "bytes_up": "sent\nup",
    "bytes_down": "sent\ndown",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("paths", nargs="+", metavar="DIR", help="a run's folder, or a folder with runs below it")
    parser.add_argument("--reference", help="run, configuration or optimizer that efficiency is relative to")
    parser.add_argument(
        "--target", type=float, help="value to reach; default: the best that every finished run reached"
    )
    parser.add_argument("--metric", choices=("accuracy", "loss"), help="default: accuracy where there is one")
    parser.add_argument("--split", choices=("validation", "train"), help="default: validation where there is one")
    parser.add_argument(
        "--format", choices=("table", "csv", "markdown", "latex", "json"), default="table", help="default: table"
    )


def main(args: argparse.Namespace) -> int:
    """Print the comparison; return 1 when a folder could not be read or there is no run."""
    from distopt.report.comparison import compare_runs
    from distopt.results import load_all

    runs, problems = load_all(args.paths)
    chosen = {"reference": args.reference, "target": args.target, "metric": args.metric, "split": args.split}
    if runs:
        found = compare_runs(runs, **chosen)
        print(_json(found, args.target, problems) if args.format == "json" else _text(found, args.format), end="")
    elif args.format == "json":
        print(_json(None, args.target, problems), end="")
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} skipped, {len(runs)} compared", file=sys.stderr)
    return 1 if problems else 0


def _text(found: "Comparison", format: str) -> str:
    from distopt.report.table import render

    if format == "csv":
        return render(found.rows, "csv")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    parts = []
    for _, rows in found.rows.groupby("group", sort=False):
        table = render(rows.drop(columns=["group", "metric", "target", "reference"]), format, HEADERS, width)
        lines = _heading(rows)
        mark = {"latex": "% ", "markdown": "", "table": ""}[format]
        parts.append("\n".join(mark + line for line in lines) + "\n\n" + table)
    return "\n".join(parts)


def _heading(rows: "pd.DataFrame") -> list[str]:
    """Say what is measured, relative to what, and for a group which settings keep it from the others."""
    first = rows.iloc[0]
    sign = "<=" if first["metric"].endswith("loss") else ">="
    target = f"{first['target']:.4g}" if first["target"] == first["target"] else "none, no run has finished"
    lines = [f"{first['group']} (not comparable with the other groups)"] if first["group"] else []
    over = f"over {first['reference']}" if first["reference"] else "not available, the reference is in another group"
    return [*lines, f"{first['metric']}, target {sign} {target}; TE, SE: temporal and statistical efficiency {over}"]


def _json(found: "Comparison | None", target: float | None, problems: list[str]) -> str:
    import json

    from distopt.report.table import plain, records

    rows = records(found.rows) if found else []
    values: dict[str, Any] = {"target": target, "reference": None, "rows": rows}
    for key in ("target", "reference"):
        different = {row[key] for row in rows}
        values[key] = different.pop() if len(different) == 1 else values[key]
    matrix = found.matrix if found else None
    values["groups"] = [{"name": group.name, "differs": dict(group.setting)} for group in found.groups] if found else []
    values["temporal_efficiency"] = {
        "names": [] if matrix is None else list(matrix.index),
        "matrix": [] if matrix is None else [[plain(value) for value in row] for row in matrix.to_numpy()],
    }
    return json.dumps(values | {"problems": problems}, indent=1) + "\n"
