"""The accounts of disturbed runs as a table in a page."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.chaos.account import Account, frame

BEGIN, END = "<!-- chaos -->", "<!-- /chaos -->"


def summary(accounts: Sequence[Account]) -> list[str]:
    """Return the sums over all runs, one line each."""
    faults: Counter[str] = Counter()
    for a in accounts:
        faults.update(a.faults)
    kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(faults.items()))
    away = [seconds for a in accounts for seconds in a.away_s]
    asked = [a.as_expected for a in accounts if a.as_expected is not None]
    lines = [
        f"{len(accounts)} runs, {faults.total()} faults ({kinds})",
        f"{sum(a.applied for a in accounts)} commits applied, of {sum(a.calls for a in accounts)} that were received: "
        f"{sum(a.duplicated for a in accounts)} applied twice, {sum(a.lost for a in accounts)} lost",
        f"{sum(a.identical for a in accounts)} of {len(accounts)} replays identical in every bit",
        f"{sum(asked)} of {len(asked)} runs as accurate as undisturbed ones (95 % prediction interval of five seeds)",
    ]
    if away:
        lines.append(f"a replaced worker was away for {np.median(away):.1f} s (median), {max(away):.1f} s at most")
    return lines


def write(accounts: Sequence[Account], page: Path) -> None:
    """Write sums and table between the marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    items = "\n".join(f"- {line}" for line in summary(accounts))
    page.write_text(f"{before}{BEGIN}\n{items}\n\n{_table(accounts)}\n{END}{after}", encoding="utf-8")


def _table(accounts: Sequence[Account]) -> str:
    rows = frame(accounts)
    digits = {name: f"{{:.{3 if name in ('accuracy', 'low', 'high') else 1}f}}" for name in rows}
    lines = ["| " + " | ".join(rows.columns) + " |", "|" + "---|" * len(rows.columns)]
    for row in rows.itertuples(index=False):
        cells = [
            "" if value is None or value != value else digits[name].format(value) if isinstance(value, float) else value
            for name, value in zip(rows.columns, row, strict=True)
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)
