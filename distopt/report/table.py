"""Tables as text: for the terminal, CSV, Markdown, LaTeX and JSON, from one data frame."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

COUNTS = ("updates", "commits", "samples", "seeds", "runs", "updates_to_target")
SYMMETRIC = ("final", "best", "difference")
GAP = "   "
FORMATS = ("table", "csv", "markdown", "latex", "json")
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"} | {"∞": r"$\infty$", "±": r"$\pm$", "–": "--", "·": r"$\cdot$"}


def render(frame: pd.DataFrame, format: str, headers: Mapping[str, str] | None = None, width: int | None = None) -> str:
    """Return `frame` as text in one of FORMATS.

    CSV and JSON (a list of objects) have all digits and the frame's own column names; an infinite value, a target never
    reached, is `inf`, and one that is not available is empty in CSV and null in JSON. The other formats are for
    reading: `headers` rename columns; a column and the ends of its interval become one column (see `with_interval`);
    the column's name decides the unit of numbers (see `text`). A terminal table wider than `width` is broken into
    several, each starting with the first column.
    """
    if format == "csv":
        return frame.to_csv(index=False)
    if format == "json":
        return json.dumps(records(frame), indent=1) + "\n"
    ends = {f"{column}{end}" for column in frame for end in ("_low", "_high")}
    shown = [str(column) for column in frame if column not in ends]
    cells = [[with_interval(column, row) for column in shown] for row in frame.to_dict("records")]
    names = [(headers or {}).get(column, column) for column in shown]
    right = [pd.api.types.is_numeric_dtype(frame[column].dtype) for column in shown]
    if format == "markdown":
        return _markdown(names, cells, right)
    if format == "latex":
        return _latex(names, cells, right)
    if format == "table":
        return "\n".join(_terminal(names, cells, right, width))
    raise ValueError(f"format={format}: choose from {', '.join(FORMATS)}")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON objects: Python numbers, `inf` and `-inf` as text, None for values that are missing."""
    return [{str(key): told(value) for key, value in row.items()} for row in frame.to_dict("records")]


def told(value: Any) -> Any:
    """Return a scalar as a JSON value that tells infinite, a target never reached, from missing, no target."""
    infinite = isinstance(value, float) and math.isinf(value)
    return str(float(value)) if infinite else plain(value)


def plain(value: Any) -> Any:
    """Return a scalar as a JSON value; None if it is not finite."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def with_interval(column: str, row: Mapping[Any, Any]) -> str:
    """Return a value of `row` as text, with its interval if the row has columns for its ends.

    Student's intervals, which are symmetric, are written `mean ± half` with two digits of the half; others are written
    `value [low, high]` with three digits. A dash stands for an interval that is not available.
    """
    value = row[column]
    low, high = (row.get(f"{column}{end}") for end in ("_low", "_high"))
    if low is None or high is None or text(column, value) == "–":
        return text(column, value)
    if column in SYMMETRIC:
        return _plus_minus(value, (high - low) / 2)
    ends = f"{_three(low)}, {_three(high)}" if low == low and high == high else "–"
    return f"{_three(value)} [{ends}]"


def text(column: str, value: Any) -> str:
    """Return a value as text.

    Columns named `bytes_*` in B, kB, MB, …, shares (`*_busy`, `*_wait`, `*_rate`, `*_share`, `within_*`) in percent,
    `p_value` with three decimals, the rest with four digits (spreads, `*_std`, with two), counts and large numbers
    without decimals. Missing values are a dash.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        return str(value)
    number = float(value)
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if column.startswith("bytes"):
        return _bytes(number)
    if column.endswith(("_busy", "_wait", "_rate", "_share")) or column.startswith("within_"):
        return f"{100 * number:.0f} %"
    if abs(number) >= 1000 or isinstance(value, (int, np.integer)) or column in COUNTS:
        return f"{number:,.0f}"
    if column == "p_value":
        return f"{number:.3f}" if number >= 0.001 else "<0.001"
    return f"{number:.2g}" if column.endswith("_std") else f"{number:#.4g}"


def _plus_minus(mean: float, half: float) -> str:
    if half <= 1e-12 * abs(mean):  # equal values up to rounding
        half = 0.0
    if not 0 < half < math.inf:
        return f"{text('', mean)} ± {text('_std', half)}"
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return f"{mean:,.{decimals}f} ± {half:,.{decimals}f}"


def _three(number: float) -> str:
    """Return a number with three digits, or all digits before the point: `1.05`, `12.3`, `1,234`, `∞`."""
    if not math.isfinite(number):
        return text("", number)
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:#.3g}".rstrip(".")


def _bytes(number: float) -> str:
    step = min(5, int(math.log(number, 1000))) if number >= 1 else 0
    return f"{number / 1000**step:.3g} {('B', 'kB', 'MB', 'GB', 'TB', 'PB')[step]}"


def _terminal(names: list[str], cells: list[list[str]], right: list[bool], width: int | None) -> Iterator[str]:
    """Yield tables no wider than `width`: the first column and as many others as fit, the rest in further tables."""
    lengths = [max([*map(len, name.split("\n")), *(len(row[i]) for row in cells)]) for i, name in enumerate(names)]
    rest = list(range(1, len(names)))
    while True:
        taken, used = [0], lengths[0]
        while rest and (width is None or len(taken) == 1 or used + len(GAP) + lengths[rest[0]] <= width):
            used += len(GAP) + lengths[rest[0]]
            taken.append(rest.pop(0))
        height = max(names[i].count("\n") for i in taken) + 1
        heads = [[""] * (height - 1 - names[i].count("\n")) + names[i].split("\n") for i in taken]
        lines = [*map(list, zip(*heads, strict=True)), *([row[i] for i in taken] for row in cells)]
        shapes = [(lengths[i], str.rjust if right[i] else str.ljust) for i in taken]
        shown = [
            GAP.join(adjust(cell, length) for cell, (length, adjust) in zip(line, shapes, strict=True)).rstrip()
            for line in lines
        ]
        yield "\n".join([*shown[:height], "─" * used, *shown[height:]]) + "\n"
        if not rest:
            return


def _markdown(names: list[str], cells: list[list[str]], right: list[bool]) -> str:
    def line(values: list[str]) -> str:
        return "| " + " | ".join(value.replace("|", r"\|").replace("\n", " ") for value in values) + " |"

    rule = "|" + "|".join("---:" if side else ":---" for side in right) + "|"
    return "\n".join([line(names), rule, *map(line, cells)]) + "\n"


def _latex(names: list[str], cells: list[list[str]], right: list[bool]) -> str:
    """Return a `tabular` with the rules of the package booktabs."""

    def line(values: list[str]) -> str:
        escaped = ("".join(_LATEX.get(sign, sign) for sign in value.replace("\n", " ")) for value in values)
        return " & ".join(escaped) + r" \\"

    sides = "".join("r" if side else "l" for side in right)
    body = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", line(names), r"\midrule", *map(line, cells)]
    return "\n".join([*body, r"\bottomrule", r"\end{tabular}"]) + "\n"
