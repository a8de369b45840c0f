"""Writing of the study's tables, figures and text."""

from pathlib import Path

import pandas as pd

from distopt.report.table import render
from scripts.study import figures, tuning
from scripts.study.outcome import REFERENCE, Outcome, judge
from scripts.study.sizes import CLUSTERS, TUNED_WITH, Size
from scripts.tools.runs import Runs

HEADERS = {"learning_rate": "learning rate", "fastest_in": "fastest in", "reached_in": "reached in", "efficiency": "TE"}
TITLES = {
    "profile": "Performance profile: share of workloads with a time of at most q times the fastest optimizer's",
    "efficiency": "Temporal efficiency on every workload",
    "accuracy": "Final validation accuracy on every workload",
}
SETTING = """\
Setting ({size.name}): {data}, {size.words}, local Adam; workers {workers}; clusters {clusters}; {size.seeds} seeds.
Every optimizer had {trials} trials, learning rate {rates} times window {windows}, {size.tuning_seeds} seeds each, with
{tuned_with} workers on the homogeneous cluster; its highest mean final validation accuracy decided. All its other
settings are the defaults. The target is a validation accuracy of {size.target:g}, fixed before anything was run.
"""
ABOUT = """\
Over {workloads} workloads (cluster and workers), best score first. *Score*: area under the performance profile up to
four times the fastest one's time. *Fastest in*, *reached in*: workloads. *Accuracy*: final, of the center, mean over
workloads. *TE*: temporal efficiency over {reference}, by areas under the validation accuracy, geometric mean over
workloads with its 95 % interval over seeds; a dash where runs diverged.
"""


def write(runs: Runs, size: Size, names: list[str], folder: Path) -> Outcome:
    """Write report.md, tuning.csv, comparison.csv, summary.csv, runs.csv and the figures to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen, trials = tuning.choose(runs, names, size.trials)
    outcome = judge(runs, size, chosen)
    tables = {"tuning": trials, "comparison": outcome.cells, "summary": outcome.summary, "runs": runs.table()}
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    drawn = figures.draw(outcome, size, folder / "figures")
    text = document(outcome, size, runs.datasets, len(runs.missing), trials, drawn)
    (folder / "report.md").write_text(text, encoding="utf-8")
    return outcome


def document(
    outcome: Outcome, size: Size, datasets: list[str], missing: int, trials: pd.DataFrame, drawn: list[str]
) -> str:
    """Return report.md: the setting, the table and the figures."""
    setting = SETTING.format(
        size=size,
        data=" and ".join(datasets) or "no data",
        workers=_listed(size.workers),
        clusters=_listed(CLUSTERS),
        trials=len(size.trials),
        rates=_listed(size.learning_rates),
        windows=_listed(size.windows),
        tuned_with=TUNED_WITH,
    )
    lines = [setting]
    if missing:
        lines += [f"**Incomplete: {missing} planned runs are missing.**", ""]
    if outcome.summary.empty:
        return "\n".join([*lines, "No optimizer has been compared yet.", ""])
    lines += [ABOUT.format(workloads=len(size.workloads), reference=REFERENCE)]
    rates = outcome.summary["learning_rate"].map("{:g}".format)
    lines += [render(outcome.summary.assign(learning_rate=rates), "markdown", HEADERS)]
    if _tells_edges(size):
        chosen = _at_the_edge(trials)
        lines += [f"Of {len(outcome.optimizers)} optimizers {chosen} chose a trial at the edge of the grid.", ""]
    for name in drawn:
        lines += [f"![{TITLES[name]}](figures/{name}.png)", "", f"{TITLES[name]}.", ""]
    return "\n".join(lines)


def _tells_edges(size: Size) -> bool:
    """Return whether the grid has trials that are not at its edge."""
    return min(len(size.learning_rates), len(size.windows)) > 2


def _at_the_edge(trials: pd.DataFrame) -> int:
    """Return how many optimizers chose the smallest or largest learning rate or window of the grid."""
    chosen = trials[trials["chosen"].astype(bool)]
    rate, window = (chosen[key].isin([trials[key].min(), trials[key].max()]) for key in ("learning_rate", "window"))
    return int((rate | window).sum())


def _listed(values: tuple[object, ...]) -> str:
    words = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    return ", ".join(words[:-1]) + f" and {words[-1]}"
