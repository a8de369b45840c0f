"""`distopt compare`: tables over runs."""

import argparse
import shutil
import sys
from typing import TYPE_CHECKING, Any

from distopt.commands import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from distopt.report.comparison.compare import Comparison

HELP = "compare runs: convergence, efficiency, staleness and cost of each configuration in a table"

HEADERS = {
    "seeds": "n",
    "final_std": "std",
    "time_to_target_s": "time to\ntarget (s)",
    "success_rate": "reached",
    "te_target": "TE\n(target)",
    "te_area": "TE\n(area)",
    "difference": "final,\ndifference",
    "p_value": "p",
    "updates_to_target": "updates\nto target",
    "se_target": "SE",
    "implicit_momentum": "implicit\nmomentum",
    "samples_per_s": "samples/s",
    "staleness_mean": "staleness",
    "server_busy": "server\nbusy",
    "worker_wait": "workers\nwait",
    "refused_share": "refused",
    "bytes_up": "sent\nup",
    "bytes_down": "sent\ndown",
    "fastest_share": "fastest\nin",
    "reached_share": "reached\nin",
    "ran": "ran\nin",
    "settings": "settings\ntried",
    "best_setting": "with",
    "within_0.005": "within\n0.5 %",
    "within_0.01": "within\n1 %",
    "within_0.05": "within\n5 %",
}
HEADED = ("group", "metric", "better", "target", "reference")  # columns that are shown in the heading of a group
MAIN = (
    "configuration",
    "seeds",
    "runs",
    "status",
    "final",
    "time_to_target_s",
    "success_rate",
    "te_area",
    "difference",
    "p_value",
)
ABOUT = {
    "profile": [
        "performance profile of the time to target over workloads (settings that at least two optimizers ran with)",
        "score: area under the profile up to 4 times the fastest; where an optimizer did not run it did not reach it",
    ],
    "sensitivity": [
        "share of the grid of learning rates and windows with a final value within X of the optimizer's best"
    ],
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("paths", nargs="+", metavar="DIR", help="a run's folder, or a folder with runs below it")
    parser.add_argument("--reference", help="run, configuration or optimizer that efficiency is relative to")
    parser.add_argument(
        "--target", type=finite, help="value to reach; default: the best that every finished run reached"
    )
    parser.add_argument("--metric", help="such as accuracy or loss; default: the primary one of the runs")
    parser.add_argument("--split", choices=("validation", "train"), help="default: validation where there is one")
    parser.add_argument(
        "--table",
        choices=("configurations", *ABOUT),
        default="configurations",
        help="a row per configuration (default); performance profile over workloads; sensitivity to learning rate and"
        " window",
    )
    parser.add_argument("--all", action="store_true", help="all columns, with the costs; csv and json always have them")
    parser.add_argument(
        "--format", choices=("table", "csv", "markdown", "latex", "json"), default="table", help="default: table"
    )


def main(args: argparse.Namespace) -> int:
    """Print the comparison; return 1 if a folder could not be read or there is no run."""
    from distopt.report.comparison.compare import compare_runs
    from distopt.runs.results import load_all

    runs, problems = load_all(args.paths)
    chosen = {"reference": args.reference, "target": args.target, "metric": args.metric, "split": args.split}
    if args.format == "json":
        print(_json(compare_runs(runs, **chosen) if runs else None, args, problems), end="")
    elif runs:
        print(_text(compare_runs(runs, **chosen), args), end="")
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)
    if problems:
        print(f"{len(problems)} skipped, {len(runs)} compared", file=sys.stderr)
    return 1 if problems else 0


def _text(found: "Comparison", args: argparse.Namespace) -> str:
    from distopt.report.comparison.samples import told
    from distopt.report.table import render

    rows = found.rows if args.table == "configurations" else getattr(found, args.table)
    if args.format == "csv":
        return render(rows, "csv")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if args.table != "configurations":
        empty = [column for column in ("group", "grid") if column in rows and not any(rows[column])]
        return _titled(args.format, ABOUT[args.table], render(rows.drop(columns=empty), args.format, HEADERS, width))
    parts = []
    main = [column for name in MAIN for column in (name, f"{name}_low", f"{name}_high") if column in found.rows]
    for group, rows in found.parts:
        shown = rows.drop(columns=list(HEADED)) if args.all else rows[main]
        if (rows["runs"] == rows["seeds"]).all():
            shown = shown.drop(columns="runs")
        lines = [*_heading(rows), *filter(None, [told(group.left_out)])]
        parts.append(_titled(args.format, lines, render(shown, args.format, HEADERS, width)))
    return "\n".join(parts)


def _titled(format: str, lines: list[str], table: str) -> str:
    mark = {"latex": "% ", "markdown": "", "table": ""}[format]
    return "\n".join(mark + line for line in lines) + "\n\n" + table


def _heading(rows: "pd.DataFrame") -> list[str]:
    """Return lines with the group's setting, the metric and target, the reference, and the meaning of columns."""
    first = rows.iloc[0]
    sign = "<=" if first["better"] == "lower" else ">="
    none = first["target"] != first["target"]
    target = "no target, as no run has finished" if none else f"target {sign} {first['target']:.4g}"
    lines = [f"{first['group']} (not comparable with the other groups)"] if first["group"] else []
    over = _over([*dict.fromkeys(rows["reference"].dropna())])
    return [
        *lines,
        f"{first['metric']}, {target}; TE, SE: temporal and statistical efficiency {over}",
        "n seeds; ± and [ ]: 95 % confidence intervals (final: mean; time: median); TE, difference, p: paired by seed",
    ]


def _over(references: "Sequence[str]") -> str:
    if len(references) > 1:
        return f"over {references[0].split()[0]} on the same workload"
    return f"over {references[0]}" if len(references) else "not available, there is no reference in this group"


def _json(found: "Comparison | None", args: argparse.Namespace, problems: list[str]) -> str:
    import json

    from distopt.report.table import records, told

    rows = records(found.rows) if found else []
    values: dict[str, Any] = {"target": args.target, "reference": args.reference, "rows": rows}
    for key in ("target", "reference"):
        different = {row[key] for row in rows}
        values[key] = different.pop() if len(different) == 1 else values[key]
    values["groups"] = [{"name": group.name, "differs": dict(group.setting)} for group in found.groups] if found else []
    left_out = [one for group in found.groups for one in group.left_out] if found else []
    values["left_out"] = [{"folder": str(one.run.folder), "reason": one.reason} for one in left_out]
    values |= {name: records(getattr(found, name)) if found else [] for name in ABOUT}
    layers = found.efficiency if found else ()
    values["temporal_efficiency"] = {"names": list(layers[0].index) if layers else []} | {
        name: [[told(value) for value in row] for row in layers[i].to_numpy()] if layers else []
        for i, name in enumerate(("matrix", "low", "high"))
    }
    return json.dumps(values | {"problems": problems}, indent=1) + "\n"
