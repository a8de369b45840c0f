"""The configuration with which each configuration is compared."""

from collections.abc import Sequence
from pathlib import Path

from distopt.errors import ResultsError
from distopt.report.comparison.grid import workload
from distopt.report.comparison.grouping import Configuration, Group

Key = tuple[tuple[str, str], ...]


def bases(group: Group, reference: str | None) -> list[Configuration | None]:
    """Return for each configuration of the group the one it is compared with; None if there is none.

    A label, or a run's folder or its name, means one configuration for all. An optimizer means its configuration, or
    among several the one on the same workload (see `grid.workload` and `_choose`). The default is the first optimizer
    with a finished run.

    Raises:
        ResultsError: the given optimizer has several configurations on one workload.
    """
    configurations = group.configurations
    if reference is None:
        same = [c for c in configurations if c.finished]
        same = [c for c in same if c.optimizer == same[0].optimizer]
        if all(c.optimizer == same[0].optimizer for c in configurations if same):
            same = same[:1]  # only one optimizer: all are compared with its first
    else:
        named = next((c for c in configurations if _means(reference, c)), None)
        same = [named] if named else [c for c in configurations if c.optimizer == reference]
    if len(same) <= 1:
        return [same[0] if same else None] * len(configurations)
    found, loosely = _by_key(same), _by_key(same, ("optimizer.window",))
    several = next((cell for cell in found.values() if len(cell) > 1), None)
    if several and reference is not None:
        labels = _some([repr(c.label) for c in several])
        raise ResultsError(f"reference={reference}: fits several configurations of a workload; take one of {labels}")
    return [_choose(found.get(_key(c)), loosely.get(_key(c, ("optimizer.window",)))) for c in configurations]


def check(groups: Sequence[Group], reference: str | None) -> None:
    """Raise ResultsError if the reference fits no configuration of any group."""
    every = [c for group in groups for c in group.configurations]
    if reference is None or any(_means(reference, c) or c.optimizer == reference for c in every):
        return
    labels = _some([*dict.fromkeys(repr(c.label) for c in every)])
    raise ResultsError(f"reference={reference}: no such run or configuration; there are {labels}")


def _some(labels: Sequence[str], most: int = 12) -> str:
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")


def _means(reference: str, configuration: Configuration) -> bool:
    if reference == configuration.label:
        return True
    folder = Path(reference).resolve()
    return any(reference == run.folder.name or folder == run.folder.resolve() for run in configuration.runs)


def _choose(exact: list[Configuration] | None, loose: list[Configuration] | None) -> Configuration | None:
    """Return the reference on the same workload, or the only one on a workload that differs only in the window.

    Optimizers differ in their default windows, and runs with the defaults are meant to be compared.
    """
    if exact:
        return exact[0]
    return loose[0] if loose and len(loose) == 1 else None


def _by_key(configurations: Sequence[Configuration], ignored: Sequence[str] = ()) -> dict[Key, list[Configuration]]:
    found: dict[Key, list[Configuration]] = {}
    for c in configurations:
        found.setdefault(_key(c, ignored), []).append(c)
    return found


def _key(configuration: Configuration, ignored: Sequence[str] = ()) -> Key:
    return tuple(sorted((key, value) for key, value in workload(configuration).items() if key not in ignored))
