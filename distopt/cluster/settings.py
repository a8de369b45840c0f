"""The `cluster` group of the configuration as a value: what takes how long in virtual time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from distopt.cluster.laws import LAWS, Law
from distopt.errors import ConfigError
from distopt.files.untrusted import BROKEN, read_csv, reason
from distopt.settings import FLAG, WORD, Check, list_of, number, one_of, or_null, problem, whole

Trace = dict[int, NDArray[np.float64]]


class Link(NamedTuple):
    """One direction between a worker and the server; a message takes latency_s + bytes / bytes_per_s."""

    latency_s: float = 0.0
    bytes_per_s: float = float("inf")

    def split(self, size: int, shared: bool) -> tuple[float, float]:
        """Return two times of a message of `size` bytes in seconds: its delay, and how long it occupies the port.

        A worker's own line only delays. On a shared port the transfer makes the next messages wait.
        """
        transfer = size / self.bytes_per_s
        return (self.latency_s, transfer) if shared else (self.latency_s + transfer, 0.0)


class Cluster(NamedTuple):
    """Durations of everything a run does, in seconds of virtual time.

    step: a local step. spread: coefficient of variation, across workers, of their mean step times (lognormal).
    trace: recorded step times by worker, for the law `trace`. A window straggles with probability straggler_chance,
    and always on the straggler_workers; it then takes straggler_factor times as long. up, down: links; with shared
    the server's port carries one message at a time each way, else every worker has a line of its own. server: work
    on one commit, first come first served. Workers fail after an exponential time of computing with mean failure_s
    and come back downtime_s later. start_s: fixed time before the first local step.
    """

    step: Law
    server: Law = Law(0.0)
    up: Link = Link()
    down: Link = Link()
    shared: bool = False
    spread: float = 0.0
    trace: Trace | None = None
    straggler_chance: float = 0.0
    straggler_factor: float = 1.0
    straggler_workers: tuple[int, ...] = ()
    failure_s: float = float("inf")
    downtime_s: float = 0.0
    start_s: float = 0.0
    name: str = "custom"

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> "Cluster":
        """Build a cluster from the `cluster` group of a configuration; raises `ConfigError` with all problems."""
        if problems := check_settings(settings):
            raise ConfigError(problems)
        step, server, network = settings["step"], settings["server"], settings["network"]
        trace = read_trace(step["trace"]) if step["law"] == "trace" else None
        return cls(
            step=_trace_law(trace) if trace else Law(step["seconds"], step["law"], step["cv"]),
            server=Law(server["seconds"], server["law"], server["cv"]),
            up=Link(network["up"]["latency_s"], _or_inf(network["up"]["bytes_per_s"])),
            down=Link(network["down"]["latency_s"], _or_inf(network["down"]["bytes_per_s"])),
            shared=network["shared"],
            spread=step["spread"],
            trace=trace,
            straggler_chance=settings["stragglers"]["chance"],
            straggler_factor=settings["stragglers"]["factor"],
            straggler_workers=tuple(settings["stragglers"]["workers"]),
            failure_s=_or_inf(settings["failures"]["mean_time_s"]),
            downtime_s=settings["failures"]["downtime_s"],
            start_s=settings["start_s"],
            name=settings["name"],
        )

    def __str__(self) -> str:
        return f"{self.name}: step times {self.step}"


def read_trace(path: str) -> Trace:
    """Read recorded step times, a CSV with the columns `worker` and `step_s` and one row per local step in order.

    Raises `ConfigError` if the file is missing, has other columns, or times that are not positive.
    """
    try:
        frame = read_csv(Path(path)).astype({"worker": "int64", "step_s": "float64"})
    except FileNotFoundError:
        raise ConfigError(f"cluster.step.trace={path}: no such file") from None
    except BROKEN as error:
        raise ConfigError(
            f"cluster.step.trace={path}: needs the columns worker,step_s with a number in each ({reason(error)})"
        ) from None
    if frame.empty or not (frame.step_s.gt(0) & np.isfinite(frame.step_s)).all():
        raise ConfigError(f"cluster.step.trace={path}: needs at least one row, and positive seconds in every row")
    return {int(str(worker)): times.to_numpy() for worker, times in frame.groupby("worker").step_s}


def _trace_law(trace: Trace) -> Law:
    times = np.concatenate(list(trace.values()))
    return Law(float(times.mean()), "trace", float(times.std() / times.mean()))


def _or_inf(value: float | None) -> float:
    return float("inf") if value is None else value


def _sane(check: Check) -> Check:
    """Return a check that also rejects numbers whose squares or sums could overflow or vanish."""
    return check._replace(accepts=lambda v: check.accepts(v) and (v == 0 or 1e-15 <= abs(v) <= 1e15))


_POSITIVE = _sane(number(0, above=True)._replace(words="a positive number"))
_NOT_NEGATIVE = _sane(number(0)._replace(words="a number of at least 0"))
_NO_LIMIT = or_null(_POSITIVE)._replace(words="a positive number, or null for no limit")

#: every setting with what it must be
RULES: dict[str, Check] = {
    "name": WORD,
    "start_s": _NOT_NEGATIVE,
    "step.seconds": _POSITIVE,
    "step.law": one_of(*LAWS),
    "step.cv": _NOT_NEGATIVE,
    "step.trace": or_null(WORD._replace(words="a path")),
    "step.spread": _NOT_NEGATIVE,
    "stragglers.chance": _sane(number(0, 1)._replace(words="a probability")),
    "stragglers.factor": _sane(number(1)._replace(words="a number of at least 1")),
    "stragglers.workers": list_of(whole(0), "a list of worker ids"),
    "network.up.latency_s": _NOT_NEGATIVE,
    "network.up.bytes_per_s": _NO_LIMIT,
    "network.down.latency_s": _NOT_NEGATIVE,
    "network.down.bytes_per_s": _NO_LIMIT,
    "network.shared": FLAG,
    "server.seconds": _NOT_NEGATIVE,
    "server.law": one_of(*LAWS[:-1]),
    "server.cv": _NOT_NEGATIVE,
    "failures.mean_time_s": _NO_LIMIT,
    "failures.downtime_s": _NOT_NEGATIVE,
}


def check_settings(settings: Mapping[str, Any]) -> list[str]:
    """Return everything that is wrong with the `cluster` group of a configuration; empty if nothing is."""
    flat = _flatten(settings)
    missing = ", ".join(f"cluster.{key}" for key in RULES if key not in flat)
    problems = [f"{missing} missing; see cluster=homogeneous"] if missing else []
    problems += [
        f"cluster.{key} is no setting of a cluster; there are {', '.join(RULES)}" for key in flat.keys() - RULES
    ]
    problems += filter(None, (problem(f"cluster.{key}", flat[key], RULES[key]) for key in flat.keys() & RULES))
    for group in ("step", "server"):
        law, cv = flat.get(f"{group}.law"), flat.get(f"{group}.cv")
        if law in ("gamma", "lognormal", "pareto") and cv == 0:
            problems.append(f"cluster.{group}.law={law} needs cluster.{group}.cv > 0; deterministic has none")
    if flat.get("step.law") == "trace" and flat.get("step.trace") is None:
        problems.append("cluster.step.law=trace needs cluster.step.trace=FILE.csv with the columns worker,step_s")
    return sorted(problems)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        path = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and any(rule.startswith(f"{path}.") for rule in RULES)
        flat |= _flatten(value, f"{path}.") if nested else {path: value}
    return flat
