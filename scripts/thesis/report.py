"""Writing of claims.md, the tables and the figures."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.thesis import elastic, failures, figures, grid, methods
from scripts.thesis.verdicts import Claim, Verdict
from scripts.tools.runs import Runs

HEAD = """# The claims of CERN-THESIS-2017-103, measured anew

J. Hermans, *On Scalable Deep Learning and Parallelizing Gradient Descent*, 2017. Written by `make thesis` from the
runs listed in [runs.csv](runs.csv); nothing in the measurements or verdicts is typed in.

Reduced setting: {dataset}, a network 784-64-64-10 (784-400-400-10 for D2 to D5) instead of 784-1000-2000-1000-10,
batch 32 instead of 128 and a quarter of the epochs, so that local steps, windows and commits are as many as in the
thesis (18,750 local steps for its 40 epochs) and samples a quarter. Workers use Adam with learning rate 1e-3
unless said otherwise. Runs are in virtual time with the cluster model fitted to the thesis's published times,
except where other step times are named. Accuracy and loss are always of the center, training accuracy on a fixed
subset of the training data. `experiment=thesis/...` has the full setting.

Numbers in brackets are 95 % intervals over seeds (2 to 5 per setting): Student's for means, bootstrap for medians,
Wilson's for shares. Numbers without are computed, not estimated. A part *holds* when its whole interval is on the
claimed side and *does not hold* when the whole interval is on the other; *cannot be told*: the interval reaches
over the bound, or there is none. A claim holds if all its parts do; it *holds partly* if some do.
"""


def judge(runs: Runs) -> list[Claim]:
    """Return all claims in the order of their numbers."""
    claims = [claim for module in (failures, methods, grid, elastic) for claim in module.judge(runs)]
    return sorted(claims, key=lambda claim: (claim.name[0], int(claim.name[1:])))


def write(runs: Runs, folder: Path) -> list[Claim]:
    """Write claims.md, runs.csv, claims.csv and the figures to a folder, and return the claims."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    claims, table = judge(runs), runs.table()
    table.to_csv(folder / "runs.csv", index=False, float_format="%.6g")
    rows = [(claim.name, claim.verdict.value, claim.statement) for claim in claims]
    pd.DataFrame(rows, columns=["claim", "verdict", "statement"]).to_csv(folder / "claims.csv", index=False)
    drawn = figures.draw(runs, folder / "figures")
    datasets = " and ".join(runs.datasets) or "no data"
    text = document(claims, datasets, [f"{run.study}, seed {run.config['seed']}" for run in runs.missing], drawn)
    (folder / "claims.md").write_text(text, encoding="utf-8")
    return claims


def document(claims: Sequence[Claim], dataset: str, missing: Sequence[str], drawn: Sequence[str]) -> str:
    """Return claims.md: a table of verdicts, then a section for each claim."""
    counts = Counter(claim.verdict for claim in claims)
    summary = ", ".join(f"{verdict.value}: {counts[verdict]}" for verdict in Verdict)
    lines = [HEAD.format(dataset=dataset), f"Of {len(claims)} claims: {summary}.", ""]
    if missing:
        lines += [f"**Incomplete: {len(missing)} planned runs are missing** ({_listed(missing)}).", ""]
    lines += ["| claim | verdict | |", "|---|---|---|"]
    lines += [f"| [{c.name}](#{c.name.lower()}) | **{c.verdict.value}** | {c.statement} |" for c in claims]
    for claim in claims:
        lines += ["", *section(claim, drawn)]
    return "\n".join(lines) + "\n"


def section(claim: Claim, drawn: Sequence[str]) -> list[str]:
    """Return the lines about one claim."""
    lines = [f"## {claim.name}", "", f"**Claim.** {claim.statement}", "", f"**Published.** {claim.published}", ""]
    lines += ["**Measured here.**", "", *(f"- {part.words}: *{part.verdict.value}*" for part in claim.parts), ""]
    lines += [f"**Verdict: {claim.verdict.value}.**", "", f"**To keep in mind.** {claim.caveat}"]
    if claim.figure in drawn:
        lines += ["", f"![{claim.figure}](figures/{claim.figure}.png)"]
    return lines


def _listed(names: Sequence[str]) -> str:
    several = Counter(names)
    shown = list(several)[:8]
    return "; ".join(shown) + ("; …" if len(several) > len(shown) else "")
