"""How runs ended, in words and numbers: the summary of a run, and the table of a sweep."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from distopt.records import SHOWN, Metric
from distopt.report.table import render
from distopt.runs.results import Run

if TYPE_CHECKING:
    from distopt.runner.sweep import End

HEADERS = {"time_s": "time (s)", "staleness_mean": "staleness", "folder": "folder, or why there is none"}
COLUMNS = {"time_s": "time_s", "staleness_mean": "staleness_mean"}
FINAL = re.compile(r"validation_(.+)_final")


def summary(run: Run) -> str:
    """Return how a run ended and its most important numbers, one per line."""
    info, numbers = run.info, run.summary
    train_s = info.get("virtual_s") if info["clock"] == "virtual" else info["train_s"]
    rows: dict[str, str | None] = {
        "updates": f"{numbers['updates']:,} from {numbers['commits']:,} commits{_refused(numbers)}, "
        f"{numbers['samples']:,} samples",
        "time": f"{train_s or 0:.2f} s {info['clock']} (start-up {info['startup_s']:.1f} s, compilation "
        f"{info['compile_s']:.1f} s, evaluation {info['evaluate_s']:.1f} s of the wall clock apart)",
        "staleness": f"mean {_number(numbers['staleness_mean'])}, max {_number(numbers['staleness_max'])}",
        "shares": f"server busy {_percent(numbers['server_busy'])}, workers waiting {_percent(numbers['worker_wait'])}",
    }
    what = "ensemble" if "best_member_loss" in run.evals else "center"
    for split in ("validation", "train"):
        if f"{split}_loss_final" in numbers:
            finals = [_final(metric, numbers.get(f"{split}_{metric.name}_final")) for metric in reversed(run.metrics)]
            rows[split] = f"{', '.join(finals)} (of the {what})"
    rows["parameters"] = f"{info['parameters']:,}" if info.get("parameters") else None
    if flops := info.get("step_flops"):
        share = run.product_share
        words = _percent(share) if share and share >= 0.01 else "less than 1 %"
        rate = f", {words} of the device's rate in matrix products" if share else ""
        rows["local step"] = f"{_operations(flops)}{rate}"
    rows["plots"] = str(run.folder / "plots")
    reason = f" ({info['reason']})" if info["reason"] else ""
    lines = [f"  {name:<11} {words}" for name, words in rows.items() if words is not None]
    shown = run.folder / SHOWN
    sample = _printable(shown.read_bytes().decode(errors="replace")) if shown.is_file() else []
    written = ["", f"  a sample of what it writes ({SHOWN}):", *(f"    {line}" for line in sample)] if sample else []
    return "\n".join([f"{run.status}{reason}", *lines, *written])


def table(ends: Sequence["End"]) -> str:
    """Return a table of a sweep's runs with status and final numbers, and the count of each status."""
    rows = [{"run": end.label, "status": end.status, **_numbers(end)} for end in ends]
    frame = pd.DataFrame(rows).dropna(axis="columns", how="all")
    counts = Counter("finished before" if end.before else end.status for end in ends)
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"{render(frame, 'table', HEADERS)}\n{len(ends)} runs: {words}\n"


def _numbers(end: "End") -> dict[str, Any]:
    """Return a run's row; a run that left no folder has the reason in its place."""
    path = end.folder / "summary.json" if end.folder else None
    found = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
    folder = end.folder.name if end.folder else end.reason and end.reason.splitlines()[0]
    finals = {match[1]: value for name, value in found.items() if (match := FINAL.fullmatch(name))}
    last = {"loss": finals.pop("loss")} if "loss" in finals else {}  # the primary metric comes first
    return finals | last | {column: found.get(name) for column, name in COLUMNS.items()} | {"folder": folder}


def _printable(text: str) -> list[str]:
    """Return the lines of a text, without characters that would steer a terminal."""
    return ["".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) for line in text.split("\n")]


def _final(metric: Metric, value: float | None) -> str:
    """Return a metric's name, value and unit."""
    return " ".join(filter(None, [metric.name, "-" if value is None else format(value, metric.format), metric.unit]))


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _refused(numbers: Mapping[str, Any]) -> str:
    return f" ({numbers['refused']:,} of them refused)" if numbers.get("refused") else ""


def _operations(flops: int) -> str:
    """Return a number of operations with its unit."""
    for unit, power in (("TFLOP", 12), ("GFLOP", 9), ("MFLOP", 6)):
        if flops >= 10**power:
            return f"{flops / 10**power:.3g} {unit}"
    return f"{flops:,} FLOP"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"
