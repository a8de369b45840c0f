"""Comparison over a grid: performance profiles over workloads, and sensitivity to learning rate and window."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from distopt.metrics.profiles import performance_ratios, score
from distopt.report.comparison.grouping import Configuration, Group, differing, settings, words

TUNED = ("local.learning_rate", "optimizer.window")
BROUGHT = ("optimizer.", "compression.", "local.")  # settings that belong to an optimizer, except the window
TOLERANCES = (0.005, 0.01, 0.05)
Part = tuple[Group, pd.DataFrame]
Settings = Mapping[str, str]
Key = tuple[tuple[str, str], ...]


class Profiles(NamedTuple):
    """Times to target of optimizers over workloads, and configurations tried, both of shape (workloads, optimizers).

    Where an optimizer did not run, the time is infinite and the number of configurations 0.
    """

    optimizers: list[str]
    costs: npt.NDArray[np.float64]
    tried: npt.NDArray[np.int64]

    @property
    def ratios(self) -> npt.NDArray[np.float64]:
        """Each cost over the smallest cost of its workload."""
        return performance_ratios(self.costs)

    def table(self) -> pd.DataFrame:
        """Return a row per optimizer: shares of workloads reached and won, and the score (see `metrics.profiles`)."""
        ratios = self.ratios
        return pd.DataFrame(
            {
                "optimizer": self.optimizers,
                "score": score(ratios) if len(ratios) else [],
                "fastest_share": (ratios == 1).mean(axis=0) if len(ratios) else [],
                "reached_share": np.isfinite(self.costs).mean(axis=0) if len(ratios) else [],
                "workloads": np.full(len(self.optimizers), len(self.costs)),
                "ran": (self.tried > 0).sum(axis=0),
                "settings": self.tried.max(axis=0, initial=0),
            }
        )


def workload(configuration: Configuration) -> Settings:
    """Return the settings that identify a workload: all except those that belong to an optimizer.

    `optimizer.*` without the window, `compression.*` and `local.*` belong to an optimizer. Data, model, batch size,
    workers, window, cluster and budget belong to the workload.
    """
    every = settings(configuration.runs[0])
    return {k: v for k, v in every.items() if k == "optimizer.window" or not k.startswith(BROUGHT)}


def cells(parts: Sequence[Part]) -> dict[Key, dict[str, list[float]]]:
    """Return for each workload the median times to target of each optimizer's configurations."""
    found: dict[Key, dict[str, list[float]]] = {}
    for group, rows in parts:
        for configuration, time_s in zip(group.configurations, rows["time_to_target_s"], strict=True):
            cell = found.setdefault(tuple(sorted(workload(configuration).items())), {})
            cell.setdefault(configuration.optimizer, []).append(float(time_s))
    return found


def profiles(found: Mapping[Any, Mapping[str, Sequence[float]]]) -> Profiles:
    """Return the costs over all workloads that at least two optimizers ran on.

    The cost is that of the optimizer's fastest configuration on the workload, so the number of configurations tried
    belongs to the result. An optimizer that did not run on a workload did not reach its target, as is usual for
    profiles.
    """
    shared = [cell for cell in found.values() if len(cell) > 1]
    names = sorted({name for cell in shared for name in cell})
    times = [[min(cell.get(name, [np.inf])) for name in names] for cell in shared]
    costs = np.nan_to_num(np.array(times, float).reshape(len(shared), len(names)), nan=np.inf, posinf=np.inf)
    tried = np.array([[len(cell.get(name, [])) for name in names] for cell in shared], int)
    return Profiles(names, costs, tried.reshape(costs.shape))


def sensitivity(group: Group, rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per optimizer and grid: the share of the grid that comes close to its best final value.

    A grid is at least two configurations of an optimizer that differ only in learning rate and window. Columns:
    `group`, `optimizer`, `grid` (the settings in which it differs from the optimizer's other grids), `settings` (number
    of configurations), `best` (the best final value), `best_setting`, and `within_X`, the share of the grid whose final
    value is worse than the best by no more than X of it. A configuration without a final value is never close.
    """
    found = []
    for optimizer, grid, members in grids(group, rows):
        worse, finals = shortfall(members), members["final"]
        best = members.iloc[int(np.nanargmin(worse))] if finals.notna().any() else members.iloc[0]
        row = {"group": group.name, "optimizer": optimizer, "grid": grid, "settings": len(members)}
        row |= {"best": best["final"], "best_setting": best["tuned"]}
        found.append(row | {f"within_{x}": float((worse <= x + 1e-12).mean()) for x in TOLERANCES})
    names = ["group", "optimizer", "grid", "settings", "best", "best_setting", *(f"within_{x}" for x in TOLERANCES)]
    return pd.DataFrame(found, columns=names)


def grids(group: Group, rows: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield optimizer, name and rows of each grid, with the columns `learning_rate`, `window` and `tuned` in words."""
    every = [settings(configuration.runs[0]) for configuration in group.configurations]
    placed, apart = located(group, rows), dict[str, dict[Key, list[int]]]()
    for i, configuration in enumerate(group.configurations):
        rest = tuple(sorted((k, v) for k, v in every[i].items() if k not in TUNED))
        apart.setdefault(configuration.optimizer, {}).setdefault(rest, []).append(i)
    for optimizer, found in apart.items():
        names = differing([dict(rest) for rest in found])
        for members, name in zip(found.values(), names, strict=True):
            if len(members) > 1:
                tuned = [words(each) for each in differing([every[i] for i in members])]
                yield optimizer, words(name), placed.iloc[members].assign(tuned=tuned)


def shortfall(rows: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return how much worse each final value is than the best, as a share of the best; infinite without a value."""
    sign = 1.0 if rows["better"].iloc[0] == "lower" else -1.0
    finals = sign * rows["final"].to_numpy(float)
    if np.isnan(finals).all():
        return np.full(len(rows), np.inf)
    best = np.nanmin(finals)
    with np.errstate(divide="ignore", invalid="ignore"):
        worse = np.where(finals == best, 0.0, (finals - best) / abs(best))
    return np.where(np.isnan(worse), np.inf, worse)


def located(group: Group, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with their `optimizer`, `workers`, `window` and `learning_rate`; NaN where there is none."""
    every = [settings(configuration.runs[0]) for configuration in group.configurations]
    keys = {"workers": "workers", "window": "optimizer.window", "learning_rate": "local.learning_rate"}
    places = {name: [float(each.get(key, "nan")) for each in every] for name, key in keys.items()}
    return rows.assign(optimizer=[c.optimizer for c in group.configurations], **places)


def leading(group: Group, rows: pd.DataFrame) -> tuple[Configuration, ...]:
    """Return each optimizer's configuration that reaches the target first, among equals the best at the end."""
    placed = rows.assign(optimizer=[c.optimizer for c in group.configurations], worse=shortfall(rows))
    placed = placed.reset_index(drop=True).sort_values(["time_to_target_s", "worse"], kind="stable")
    return tuple(group.configurations[i] for i in sorted(placed.drop_duplicates("optimizer").index))


def over_grid(group: Group, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the final metric of each optimizer by workers (rows) and window (columns), the best of other settings.

    Only optimizers with at least two numbers of workers and two windows have a table. All tables have the same rows and
    columns, with NaN where an optimizer has no run.
    """
    placed = located(group, rows).dropna(subset=["workers", "window"])
    lower = rows["better"].iloc[0] == "lower"
    tables = {
        str(name): (cells.min() if lower else cells.max()).unstack()
        for name, own in placed.groupby("optimizer")
        if own["workers"].nunique() > 1 and own["window"].nunique() > 1
        for cells in [own.groupby(["workers", "window"])["final"]]
    }
    index, columns = (sorted({x for t in tables.values() for x in getattr(t, a)}) for a in ("index", "columns"))
    return {name: table.reindex(index=index, columns=columns) for name, table in tables.items()}


def tabulate(values: Iterable[Any]) -> list[str]:
    """Return numbers as labels: `10`, `0.001`."""
    return [f"{value:g}" for value in values]
