"""The optimizers that reach the target first on each workload, as evidence for the page's answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distopt.records import Metric
from distopt.report.comparison.grid import workload
from distopt.report.comparison.grouping import Configuration, Group, differing, words
from distopt.report.comparison.rows import against, measure


class Entrant(NamedTuple):
    """An optimizer's fastest configuration on a workload, with its row of the comparison."""

    configuration: Configuration
    row: Mapping[str, Any]

    @property
    def time_s(self) -> float:
        """Seconds to the target, median over seeds: infinite if not reached, NaN without a target."""
        return float(self.row["time_to_target_s"])

    @property
    def optimizer(self) -> str:
        """The optimizer's name."""
        return self.configuration.optimizer


class Heat(NamedTuple):
    """One workload: an entrant per optimizer, fastest first; `setting` has its distinguishing settings."""

    workers: int
    setting: Mapping[str, str]
    entrants: list[Entrant]

    @property
    def name(self) -> str:
        """The distinguishing settings in words; empty for the only workload."""
        return words(self.setting)

    @property
    def contested(self) -> bool:
        """Whether there are two optimizers to compare."""
        return len(self.entrants) > 1

    @property
    def decided(self) -> bool:
        """Whether an optimizer reached the target with half of its seeds."""
        return bool(np.isfinite(self.entrants[0].time_s))

    @property
    def winners(self) -> list[str]:
        """The optimizers with the shortest time: none if no optimizer reaches the target, several in a tie."""
        best = self.entrants[0].time_s
        return [each.optimizer for each in self.entrants if self.decided and each.time_s == best]

    def margin(self, metric: Metric, split: str) -> dict[str, Any]:
        """Return the row of the first against the second (see `rows.against`), with the number of common `seeds`."""
        first, second = (measure(each.configuration, metric, split) for each in self.entrants[:2])
        row = against(first, second, float(self.entrants[0].row["target"]))
        return row | {"seeds": len({*first.configuration.seeds} & {*second.configuration.seeds})}


def heats(group: Group, rows: Sequence[Mapping[str, Any]]) -> list[Heat]:
    """Return one heat per workload (see `grid.workload`), ordered by workers.

    If optimizers ran with different windows, the window does not identify the workload: each optimizer's best counts.
    """
    entrants = [Entrant(*pair) for pair in zip(group.configurations, rows, strict=True)]
    found = _by_workload(entrants, ())
    if len({frozenset(each.optimizer for each in members) for _, members in found}) > 1:
        found = _by_workload(entrants, ("optimizer.window",))
    names = differing([setting for setting, _ in found])
    ordered = [
        Heat(int(members[0].configuration.runs[0].config["workers"]), name, _fastest(members))
        for (_, members), name in zip(found, names, strict=True)
    ]
    return sorted(ordered, key=lambda heat: heat.workers)


def first_by_workers(found: Sequence[Heat]) -> dict[int, list[str]]:
    """Return for each worker count the optimizers that are first in most of its workloads."""
    counts: dict[int, Counter[str]] = {}
    for heat in found:
        counts.setdefault(heat.workers, Counter()).update(heat.winners)
    return {
        workers: sorted(name for name, won in wins.items() if won == max(wins.values()))
        for workers, wins in counts.items()
    }


def _by_workload(entrants: Sequence[Entrant], ignored: Sequence[str]) -> list[tuple[dict[str, str], list[Entrant]]]:
    found: dict[tuple[tuple[str, str], ...], list[Entrant]] = {}
    for each in entrants:
        setting = {key: value for key, value in workload(each.configuration).items() if key not in ignored}
        found.setdefault(tuple(sorted(setting.items())), []).append(each)
    return [(dict(setting), members) for setting, members in found.items()]


def _fastest(members: Sequence[Entrant]) -> list[Entrant]:
    """Return each optimizer's fastest entrant, ordered by time; entrants without a time come last."""
    best: dict[str, Entrant] = {}
    for each in sorted(members, key=lambda each: np.nan_to_num(each.time_s, nan=np.inf, posinf=np.inf)):
        best.setdefault(each.optimizer, each)
    return list(best.values())
