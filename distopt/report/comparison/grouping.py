"""Grouping of runs: repetitions of one configuration, and configurations that may be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from distopt.report.comparison.samples import LeftOut, count
from distopt.runs.results import Run

IRRELEVANT = (
    *("seed", "seeds", "output", "name", "experiment", "evaluate", "trackers", "hydra", "diagnostics"),
    *("dataset.root", "dataset.download"),
    *("launcher.address", "launcher.log_to_driver", "launcher.object_store_bytes", "launcher.timeout"),
    *("launcher.trace", "launcher.width"),
)
PROBLEM = ("dataset", "model", "batch_size", "clock")
SHARDING = ("dataset.partition", "dataset.alpha")
Settled = tuple[dict[str, str], Run]


@dataclass(frozen=True)
class Configuration:
    """Runs that differ only in the seed (and in settings that cannot change a result), ordered by seed."""

    label: str
    runs: tuple[Run, ...]  # those that count, see `samples`
    left_out: tuple[LeftOut, ...] = ()  # folders of the same settings and seeds that do not

    @property
    def optimizer(self) -> str:
        """The optimizer's name."""
        return self.runs[0].optimizer

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, each once, however many repetitions it has."""
        return tuple(dict.fromkeys(run.seed for run in self.runs))

    @property
    def finished(self) -> tuple[Run, ...]:
        """The finished runs."""
        return tuple(run for run in self.runs if run.finished)

    @property
    def status(self) -> str:
        """The common status of all runs, such as `done`, or counts, such as `done 2, failed 1`."""
        statuses = [run.status for run in self.runs]
        if len(set(statuses)) == 1:
            return statuses[0]
        return ", ".join(f"{status} {statuses.count(status)}" for status in sorted(set(statuses)))


@dataclass(frozen=True)
class Group:
    """Configurations on one problem and clock; `setting` has the settings in which it differs from other groups."""

    configurations: tuple[Configuration, ...]
    setting: Mapping[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> list[Run]:
        """All runs of the group."""
        return [run for configuration in self.configurations for run in configuration.runs]

    @property
    def left_out(self) -> list[LeftOut]:
        """The folders that do not count, see `samples`."""
        return [one for configuration in self.configurations for one in configuration.left_out]

    @property
    def name(self) -> str:
        """The distinguishing settings in words; empty for the only group."""
        return words(self.setting)


def settings(run: Run) -> dict[str, str]:
    """Return the settings that can change a run's results, by dotted key; the virtual cluster only in virtual time.

    A null setting counts as absent, so that runs older than the setting can still be compared.
    """
    flat = dict(flatten(run.config))
    ignored = IRRELEVANT if run.info["clock"] == "virtual" else (*IRRELEVANT, "cluster")
    for key, digest in (run.info.get("contents") or {}).items():  # what was read, not where it lay
        flat[key] = f"{PurePath(flat.get(key, '')).name}@{str(digest)[:8]}"
    ignored = ignored if "teacher" in flat else (*ignored, "distillation")
    kept = {key: value for key, value in flat.items() if not _within(key, ignored)}
    return {"clock": str(run.info["clock"])} | kept


def group(runs: Sequence[Run]) -> list[Group]:
    """Sort runs into groups with equal data, model, batch size and clock, and each group into configurations.

    Labels show the optimizer and the settings that differ within the group. Where each run has a teacher of its own
    seed, teachers count by their settings, and else by their model: a seed repeats teacher and student.
    """
    teachers = [(run.info.get("teacher") or {}) for run in runs]
    common = {told.get("settings") for run, told in zip(runs, teachers, strict=True) if told.get("seed") != run.seed}
    problems: dict[tuple[tuple[str, str], ...], list[Settled]] = {}
    for run, told in zip(runs, teachers, strict=True):
        mine = settings(run)
        if told.get("settings") not in common:
            mine["teacher"] = f"{told.get('optimizer')}@{str(told['settings'])[:8]}"
        problem = {k: v for k, v in mine.items() if _within(k, PROBLEM) and not _within(k, SHARDING)}
        problems.setdefault(tuple(sorted(problem.items())), []).append((mine, run))
    apart = differing([dict(problem) for problem in problems])
    return [Group(_configurations(members), setting) for members, setting in zip(problems.values(), apart, strict=True)]


def caption(runs: Sequence[Run]) -> str:
    """Return the common settings of runs in one line: data, model, workers, window, batch size, clock and its law."""
    every = [settings(run) for run in runs]
    common = {k: v for k, v in every[0].items() if all(other.get(k) == v for other in every)}
    parts = [common.get("dataset.name"), common.get("model.name")]
    named = {"workers": "workers", "optimizer.window": "window", "batch_size": "batch size", "local.name": "local"}
    parts += [f"{word} {common[key]}" for key, word in named.items() if key in common]
    if common.get("clock") == "virtual":
        parts.append(" ".join(["virtual time", *_law(common)]))
    elif common.get("clock") == "wall":
        parts.append("wall clock")
    seeds = sorted({run.seed for run in runs})
    parts.append(f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}")
    return " · ".join(part for part in parts if part and part != "none")


def _law(common: Mapping[str, str]) -> list[str]:
    """Return the cluster's name, and the law of its step times with the coefficient of variation."""
    law = common.get("cluster.step.law")
    variation = {"deterministic": "0", "exponential": "1"}.get(law or "", common.get("cluster.step.cv", "?"))
    words = [f"on cluster {common['cluster.name']}"] if "cluster.name" in common else []
    return [*words, f"({law} step times, cv {variation})"] if law else words


def _configurations(members: Sequence[Settled]) -> tuple[Configuration, ...]:
    repeated: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for mine, run in members:
        repeated.setdefault(tuple(sorted(mine.items())), []).append(run)
    counted = [(dict(every), *each) for every, runs in repeated.items() for each in _by_code(runs)]
    apart = differing([every | code for every, code, *_ in counted])
    found = []
    for (every, _, runs, left_out), setting in zip(counted, apart, strict=True):
        setting.pop("optimizer.name", None)
        label = " ".join([runs[0].optimizer, words(setting)]).strip()
        order = (label.split(" ", 1)[0], [(key, *_natural(value)) for key, value in sorted((every | setting).items())])
        found.append((order, Configuration(label, runs, left_out)))
    return tuple(configuration for _, configuration in sorted(found, key=lambda pair: pair[0]))


def _by_code(runs: Sequence[Run]) -> list[tuple[dict[str, str], tuple[Run, ...], tuple[LeftOut, ...]]]:
    """Return the runs that count, apart where other code computed them, each with its code if there are several."""
    counted = count(runs)
    by_code: dict[str, list[Run]] = {}
    for run in counted.runs:
        by_code.setdefault(str(run.info.get("code", "unknown"))[:8], []).append(run)
    several = len(by_code) > 1
    left_out = iter([counted.left_out])
    return [({"code": code} if several else {}, tuple(some), next(left_out, ())) for code, some in by_code.items()]


def differing(every: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return each mapping's settings that differ from others; `group.key` only among mappings of equal `group.name`."""
    kept: list[dict[str, str]] = [{} for _ in every]
    for key in dict.fromkeys(key for flat in every for key in flat):
        kind = key.split(".")[0] + ".name"
        peers: dict[str, list[int]] = {}
        for i, flat in enumerate(every):
            peers.setdefault("" if key == kind else flat.get(kind, ""), []).append(i)
        for members in peers.values():
            if len({every[i].get(key) for i in members}) > 1:
                for i in members:
                    kept[i][key] = every[i].get(key, "null")
    return kept


def words(setting: Mapping[str, str]) -> str:
    """Return settings in words, such as `workers=4 local=sgd`: `group.name` as the group, other keys without group."""
    return " ".join(f"{_short(key)}={value}" for key, value in setting.items())


def _short(key: str) -> str:
    head, _, tail = key.rpartition(".")
    return head if tail == "name" and head else tail


def _natural(value: str) -> tuple[float, str]:
    """Return a key that sorts numbers by size, before words."""
    try:
        return float(value), ""
    except ValueError:
        return float("inf"), value


def _within(key: str, roots: Sequence[str]) -> bool:
    return f"{key}.".startswith(tuple(f"{root}." for root in roots))


def flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the settings as pairs of dotted key and value as text, without null values."""
    pairs: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{prefix}{key}.")
        elif value is not None:
            pairs.append((f"{prefix}{key}", str(value)))
    return pairs
