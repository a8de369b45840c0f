"""Answers of a comparison in words: one sentence per question, with the evidence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distopt.metrics.statistics import CONFIDENCE
from distopt.records import ACCURACY, Metric
from distopt.report.comparison.grouping import Configuration, Group
from distopt.report.comparison.rows import against, measure
from distopt.report.page.race import Heat, first_by_workers, heats
from distopt.report.table import text, with_interval
from distopt.runs.results import Run

SHOWN = 8  # lines of evidence
ALONE = "Cannot be told: no two optimizers ran on the same setting."


class Answer(NamedTuple):
    """A question, its answer in one sentence, and lines of evidence."""

    question: str
    sentence: str
    evidence: list[str]


def answers(group: Group, rows: Sequence[Mapping[str, Any]], metric: Metric, split: str) -> list[Answer]:
    """Return the answers of a group of comparable configurations; `rows` are those of the comparison, in order."""
    every = heats(group, rows)
    found = [heat for heat in every if heat.contested] or every
    best = f"Which ends with the {'lowest' if metric.better == 'lower' else 'highest'} {metric.name}?"
    last = "Which is the most accurate in the end?" if metric == ACCURACY else best
    target = float(rows[0]["target"])
    return [
        Answer("Which optimizer reaches the target first?", *_first(found, f"{split} {metric.name}", target)),
        Answer("By how much, and how sure is that?", *_margin(found, metric, split)),
        Answer("Does it hold at other worker counts?", *_workers(found)),
        Answer(last, *_final(group, rows, metric, split)),
        Answer("What failed?", *failures(group.runs)),
    ]


def _first(found: Sequence[Heat], metric: str, target: float) -> tuple[str, list[str]]:
    if np.isnan(target):
        return "Cannot be told: no run has finished.", []
    goal = f"{metric} of {target:.4g}"
    wins = Counter(name for heat in found for name in heat.winners).most_common()
    if not wins:
        return f"None: no optimizer reaches a {goal} in half of its runs.", []
    lines = [_heat_line(heat) for heat in found]
    if not found[0].contested:
        return ALONE, _short(lines)
    if len(found) == 1:
        return f"{_list(found[0].winners)} {'reaches' if len(wins) == 1 else 'reach'} a {goal} first.", lines
    rest = "".join(f", {name} in {count}" for name, count in wins[1:])
    return f"{wins[0][0]} reaches a {goal} first in {wins[0][1]} of {len(found)} settings{rest}.", _short(lines)


def _heat_line(heat: Heat) -> str:
    where = f"{heat.name}: " if heat.name else ""
    if not heat.decided:
        return f"{where}none reaches it"
    first = heat.entrants[0]
    median = f", median of {_seeds(first.configuration)}"
    return f"{where}{_list(heat.winners)} after {with_interval('time_to_target_s', first.row)} s{median}"


def _margin(found: Sequence[Heat], metric: Metric, split: str) -> tuple[str, list[str]]:
    raced = [(heat, heat.margin(metric, split)) for heat in found if heat.decided and heat.contested]
    told = [(heat, margin) for heat, margin in raced if not np.isnan(margin["te_target"])]
    if not told:
        return ALONE if not found[0].contested else "Cannot be told: there are no times to compare.", []
    margins = [margin for _, margin in told]
    lines = [_margin_line(heat, margin) for heat, margin in told]
    ratios = [margin["te_target"] for margin in margins]
    span = dict.fromkeys("∞" if np.isinf(ratio) else f"{ratio:.3g}" for ratio in (min(ratios), max(ratios)))
    sentence = f"The first is {' to '.join(span)} times as fast as the next"
    sure = sum(margin["te_target_low"] > 1 for margin in margins)
    pairs = max(margin["seeds"] for margin in margins)
    if pairs < 2:
        return f"{sentence}; without repetitions over seeds nobody knows how sure that is.", _short(lines)
    where = f" in {sure} of {len(told)} settings" if len(told) > 1 else ""
    verdict = f"the interval excludes a tie{where}" if sure else "the interval does not exclude a tie"
    return f"{sentence}; {verdict}{_coverage(pairs)}.", _short(lines)


def _margin_line(heat: Heat, margin: Mapping[str, Any]) -> str:
    where = f"{heat.name}: " if heat.name else ""
    first, second = (each.optimizer for each in heat.entrants[:2])
    return f"{where}{first} is {with_interval('te_target', margin)} times as fast as {second}"


def _coverage(pairs: int) -> str:
    """Return a warning if the bootstrap of a median over this few pairs cannot cover 95 %; see `metrics.statistics`."""
    most = 1 - 2.0 ** (1 - pairs)
    return f" (with {pairs} seeds it covers {100 * most:.0f} % at most)" if most < CONFIDENCE else ""


def _workers(found: Sequence[Heat]) -> tuple[str, list[str]]:
    if not found[0].contested:
        return ALONE, []
    first = first_by_workers(found)
    if len(first) == 1:
        return f"Cannot be told: there are only runs with workers={next(iter(first))}.", []
    counts = _list([str(workers) for workers in first])
    winners = {tuple(names) for names in first.values()}
    if winners == {()}:
        return f"Cannot be told: none reaches the target with {counts} workers.", []
    if len(winners) == 1:
        (names,) = winners
        return f"Yes: {_list(names)} {'is' if len(names) == 1 else 'are'} first with {counts} workers.", []
    lines = [f"{workers} workers: {_list(names) or 'none reaches the target'}" for workers, names in first.items()]
    return "No: which one is first changes with the number of workers.", _short(lines)


def _final(group: Group, rows: Sequence[Mapping[str, Any]], metric: Metric, split: str) -> tuple[str, list[str]]:
    sign = 1 if metric.better == "lower" else -1
    pairs = zip(group.configurations, rows, strict=True)
    ranked = sorted(
        [(c, row) for c, row in pairs if np.isfinite(row["final"])], key=lambda pair: sign * pair[1]["final"]
    )
    if not ranked:
        return "Cannot be told: no run was evaluated to its end.", []
    best, row = ranked[0]
    lines = [f"{with_interval('final', row)}, mean over seeds"]
    other = next(((c, row) for c, row in ranked if c.optimizer != best.optimizer), None)
    if other:
        lines.append(f"the best of the other optimizers, {other[0].label}: {with_interval('final', other[1])}")
        apart = against(measure(best, metric, split), measure(other[0], metric, split), float(row["target"]))
        if np.isfinite(apart["difference"]):
            p_value = text("p_value", apart["p_value"])
            lines.append(f"difference, paired by seed: {with_interval('difference', apart)}, p-value {p_value}")
    return f"{best.label} ends at a {split} {metric.name} of {text('final', row['final'])}.", lines


def failures(runs: Sequence[Run]) -> tuple[str, list[str]]:
    """Return how many runs did not finish, and a line with status and reason for each."""
    broken = [run for run in runs if not run.finished]
    if not broken:
        return "Nothing: the only run finished." if len(runs) == 1 else f"Nothing: all {len(runs)} runs finished.", []
    reasons = [f", {run.info['reason']}" if run.info.get("reason") else "" for run in broken]
    lines = [f"{run.folder.name}: {run.status}{reason}" for run, reason in zip(broken, reasons, strict=True)]
    return f"{len(broken)} of {len(runs)} runs did not finish.", _short(lines)


def _seeds(configuration: Configuration) -> str:
    count = len(configuration.runs)
    return f"{count} seeds" if count > 1 else "one seed"


def _list(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _short(lines: list[str]) -> list[str]:
    return lines if len(lines) <= SHOWN else [*lines[: SHOWN - 1], f"and {len(lines) - SHOWN + 1} more"]
