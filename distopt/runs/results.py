"""The results of a run: its folder read back as frames, and the numbers that sum it up."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from distopt.errors import ResultsError
from distopt.files.lock import held
from distopt.files.untrusted import BROKEN, need, read_mapping, reason, regular
from distopt.metrics import convergence, diagnostics, efficiency, staleness
from distopt.records import ACCURACY, FINISHED, LOSS, Metric
from distopt.runs.growing_table import read_stream
from distopt.runs.older import completed
from distopt.runs.schema import CONFIG, INFO, NUMBER, REQUIRED, Rules, check_mapping, check_table


@dataclass(frozen=True, eq=False)
class Run:
    """One run read from its folder: resolved configuration, `run.json`, evaluations of the center, summary.

    `evals` has one row per evaluation and split, `summary` the numbers of `summarize`. The frame `commits`, one row
    per commit in the order applied, is read when first asked for.
    """

    folder: Path
    config: dict[str, Any]
    info: dict[str, Any]
    evals: pd.DataFrame
    summary: dict[str, Any]

    @cached_property
    def commits(self) -> pd.DataFrame:
        """The commits in the order applied; raises ResultsError if the table is damaged."""
        return _read_table(self.folder, "commits", self.status)

    @cached_property
    def events(self) -> pd.DataFrame:
        """What happened besides commits, in order; see `distopt.records`. Raises ResultsError if it is damaged."""
        return _read_table(self.folder, "events", self.status)

    @property
    def status(self) -> str:
        """`running`, `done`, `stopped`, `diverged`, `failed` or `interrupted`."""
        return str(self.info["status"])

    @property
    def product_share(self) -> float | None:
        """How much of the device's rate in matrix products local steps reached; None if it is unknown.

        It is measured, and differs from run to run; so it is no part of the summary.
        """
        actors = self.info.get("actors") or []
        rates = [told["product_flops_per_s"] for told in (self.info, *actors) if told.get("product_flops_per_s")]
        if not rates or not self.info.get("step_flops") or self.commits.empty:
            return None
        wall = self.info["clock"] == "wall"
        seconds = float(self.commits["compute_s"].sum()) if wall else float(self.info.get("train_s") or 0)
        steps = int(self.commits["steps"].sum())
        return steps * self.info["step_flops"] / seconds / (sum(rates) / len(rates)) if seconds > 0 else None

    @property
    def finished(self) -> bool:
        """Whether the run finished: `done`, or `stopped` by a criterion of its own."""
        return self.status in FINISHED

    @property
    def optimizer(self) -> str:
        """The optimizer's name."""
        return str(self.config["optimizer"]["name"])

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What evaluations record, the primary metric first; of runs that do not tell, those that have a value."""
        told = metrics(self.info)
        if "metrics" in self.info or self.evals.empty:
            return told
        known = [each for each in told if each.name in self.evals and self.evals[each.name].notna().any()]
        return tuple(known) or (LOSS,)

    @property
    def seed(self) -> int:
        """The seed that decides initial parameters and batches."""
        return int(self.config["seed"])


def load(folder: str | Path) -> Run:
    """Read the run in `folder`, also one that is still running or was cut off; its complete records count.

    Raises ResultsError naming the file and the way out when the folder is no run, is half-written or is damaged.
    """
    folder = _path(folder)
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder; give the folder of a run, or one with runs below it")
    info = _read_mapping(folder / "run.json", INFO, ("status", "clock"))
    if info["status"] == "running" and not held(folder):
        info |= {"status": "interrupted", "reason": "its process is gone"}
    config = completed(_read_mapping(folder / "config.yaml", CONFIG, ("optimizer", "seed", "workers")))
    evals = _read_table(folder, "evals", str(info["status"]))
    if (folder / "summary.json").is_file():
        summary = _read_mapping(folder / "summary.json")
    else:
        summary = summarize(_read_table(folder, "commits", str(info["status"])), evals, info)
    return Run(folder, config, info, evals, summary)


def _path(given: Any) -> Path:
    """Return a path that a caller gave; raises ResultsError if it is none."""
    if not isinstance(given, str | os.PathLike):
        raise ResultsError(f"{given!r} is no path; give the folder of a run, or one with runs below it")
    return Path(given)


def metrics(info: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Return the metrics that `run.json` names; runs older than that have accuracy and loss."""
    told = info.get("metrics")
    if told is None:
        return (ACCURACY, LOSS)
    return tuple(Metric(**{key: each[key] for key in Metric._fields if key in each}) for each in told)


def find(paths: Sequence[str | Path]) -> list[Path]:
    """Return the runs' folders at and below `paths`, each once, ordered by name; a run has a `run.json`."""
    return [folder for folder in _candidates(paths) if (folder / "run.json").is_file()]


def load_all(paths: Sequence[str | Path]) -> tuple[list[Run], list[str]]:
    """Read all runs at and below `paths`; also return one line for each path or folder that could not be read."""
    walked = {path: list(_walk(path)) for path in map(_path, paths)}
    problems = [f"{path}: no run below it" for path, below in walked.items() if path.is_dir() and not below]
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = list(pool.map(_attempt, _distinct(folder for below in walked.values() for folder in below)))
    problems += [problem for problem in found if isinstance(problem, str)]
    return [run for run in found if isinstance(run, Run)], problems


def _attempt(folder: Path) -> Run | str:
    try:
        return load(folder)
    except ResultsError as error:
        return str(error)


def summarize(commits: pd.DataFrame, evals: pd.DataFrame, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of `summary.json`: plain numbers, None where there is no finite value.

    Counts: `updates`, `commits`, `refused` and `refused_share` (with `on_bad_commit`), `samples`, `epochs` (samples
    over training samples),
    `commits_per_worker_min` and `_max`, `window_mean` in local steps, `early_share` of windows that their worker's rule
    ended, where one may. Time: `time_s`, training time on the run's clock in seconds. Bytes: `bytes_up`, `bytes_down`.
    Rates and shares: see `metrics.efficiency.hardware`. `staleness_mean`, `_std`, `_q95`, `_max` in
    updates; `distance_mean`, `_q95`, `_max` in units of the parameters; both of applied commits. `gap_mean`,
    `gap_relative_mean`, `dropped_share`, `duplicated_share`, and where they are recorded `progress_cosine_mean`,
    `equilibrium_median`, `equilibrium_share`, `conserved_drift_max`: see `metrics.diagnostics`. `SPLIT_METRIC_final`
    and `_best` for each split and metric evaluated.
    """
    time_s, train_samples = _train_time(commits, evals, info), info.get("train_samples")
    samples = int(commits["samples"].sum())
    per_worker = commits.groupby("worker").size().reindex(range(info.get("workers", 0)), fill_value=0)
    if per_worker.empty:
        per_worker = commits.groupby("worker").size()
    values: dict[str, Any] = {
        "updates": int(commits["update"].max()) if len(commits) else 0,
        "commits": len(commits),
        **_refused(commits),
        "samples": samples,
        "epochs": samples / train_samples if train_samples else None,
        "time_s": time_s,
        "bytes_up": int(commits["bytes_up"].sum()),
        "bytes_down": int(commits["bytes_down"].sum()),
        "commits_per_worker_min": int(per_worker.min()) if len(per_worker) else 0,
        "commits_per_worker_max": int(per_worker.max()) if len(per_worker) else 0,
    }
    values |= efficiency.hardware(commits, time_s, train_samples)
    values |= _windows(commits)
    applied = staleness.accepted(commits)
    for column, names in (("staleness", ("mean", "std", "q95", "max")), ("distance", ("mean", "q95", "max"))):
        numbers = staleness.describe(applied[column])
        values |= {f"{column}_{name}": numbers[name] for name in names}
    values |= diagnostics.describe(commits, evals, info.get("parameters"))
    for split in sorted(evals["split"].unique()):
        for metric in metrics(info):
            y = evals.loc[evals["split"] == split, metric.name].to_numpy(float)
            values[f"{split}_{metric.name}_final"] = float(y[-1])
            values[f"{split}_{metric.name}_best"] = convergence.best(y, metric.better)
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}


def _refused(commits: pd.DataFrame) -> dict[str, float]:
    """Return how many commits were refused for their content, and their share, where some may be."""
    if "refused" not in commits:
        return {}
    return {"refused": int(commits["refused"].sum()), "refused_share": float(commits["refused"].mean())}


def _windows(commits: pd.DataFrame) -> dict[str, float]:
    """Return the mean local steps of a window, and the share of windows that a worker rule ended, if it may."""
    shares = {"early_share": float(commits["early"].mean())} if "early" in commits else {}
    return {"window_mean": float(commits["steps"].mean()), **shares}


def _train_time(commits: pd.DataFrame, evals: pd.DataFrame, info: Mapping[str, Any]) -> float:
    told = info.get("virtual_s" if info.get("clock") == "virtual" else "train_s")
    if told is not None:
        return float(told)
    return max((float(table["time_s"].iloc[-1]) for table in (commits, evals) if len(table)), default=0.0)


def _candidates(paths: Sequence[str | Path]) -> list[Path]:
    """Return folders at and below `paths` that are runs or remains of one, and given paths that are no folders."""
    return _distinct(folder for path in paths for folder in _walk(Path(path)))


def _distinct(folders: Iterable[Path]) -> list[Path]:
    found = {os.path.realpath(folder): folder for folder in folders}
    return sorted(found.values(), key=lambda folder: (folder.name, str(folder)))


def _walk(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, below, files in os.walk(path):
        below[:] = sorted(name for name in below if not name.startswith("."))
        remains = {"run.json", "config.yaml", "commits.arrow", "evals.arrow", "commits.parquet", "evals.parquet"}
        abandoned = not files and not below and Path(folder) != path
        if remains & set(files) or abandoned:
            below.clear()
            yield Path(folder)


def _read_mapping(path: Path, rules: Rules | None = None, keys: Sequence[str] = ()) -> dict[str, Any]:
    try:
        content = read_mapping(path)
    except FileNotFoundError:
        raise ResultsError(
            f"{path}: missing, so this is no complete run; delete the folder or repeat the run"
        ) from None
    except BROKEN as error:
        raise ResultsError(f"{path}: cannot be read ({reason(error)}); delete the folder or repeat the run") from None
    if absent := [key for key in keys if key not in content]:
        raise ResultsError(f"{path}: has no {', '.join(absent)}; delete the folder or repeat the run")
    check_mapping(path, content, dict.fromkeys(content, NUMBER) if rules is None else rules)
    return content


def _read_table(folder: Path, name: str, status: str) -> pd.DataFrame:
    parquet, stream = folder / f"{name}.parquet", folder / f"{name}.arrow"
    try:
        if parquet.is_file():
            frame = _read_parquet(parquet)
        elif stream.is_file():
            frame = _read_stream(stream)
        elif status in FINISHED and name != "events":  # most runs have no events
            raise ResultsError(f"{parquet}: missing although the run is {status}; delete the folder or repeat the run")
        else:
            frame = pd.DataFrame()
    except BROKEN as error:
        raise ResultsError(
            f"{parquet}: cannot be read ({reason(error)}); delete the folder or repeat the run"
        ) from None
    if frame.columns.empty:
        return pd.DataFrame({column: pd.Series(dtype=float) for column in REQUIRED[name]})
    check_table(parquet, frame, REQUIRED[name])
    return frame


def _read_parquet(path: Path) -> pd.DataFrame:
    with pq.ParquetFile(regular(path)) as file:
        need(file.metadata.num_rows * len(file.schema_arrow) * 16, f"{path.name} ({file.metadata.num_rows:,} rows)")
        # tables are small: starting threads for one takes longer than reading it
        return file.read(use_threads=False).to_pandas(use_threads=False, ignore_metadata=True)


def _read_stream(path: Path) -> pd.DataFrame:
    table = read_stream(path)
    return pd.DataFrame() if table is None else table.to_pandas()
