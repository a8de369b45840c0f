"""Small run folders with known numbers, in the format of real runs."""

import json
import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

SPEED = {"downpour": 0.6, "dynsgd": 0.45, "aeasgd": 0.8, "agn": 1.0, "adag": 1.2}


def config(optimizer: str = "adag", seed: int = 0, workers: int = 4, **other: Any) -> dict[str, Any]:
    """Return the resolved configuration of a run; `other` replaces whole top-level entries."""
    return {
        "workers": workers,
        "epochs": 5,
        "batch_size": 32,
        "seed": seed,
        "output": "results",
        "name": None,
        "evaluate": {"points": 50, "every": None, "samples": 1000},
        "stop": {"updates": None, "seconds": None, "accuracy": None, "loss": None},
        "optimizer": {"name": optimizer, "window": 10},
        "local": {"name": "adam", "learning_rate": 0.001, "on_pull": "keep"},
        "model": {"name": "mlp", "hidden": [64]},
        "dataset": {"name": "digits", "root": None, "partition": "iid"},
        "launcher": {"name": "sim"},
        "cluster": {"name": "homogeneous"},
    } | other


def info(status: str = "done", clock: str = "virtual", **other: Any) -> dict[str, Any]:
    """Return the content of `run.json` that readers need."""
    return {"schema": 1, "status": status, "reason": None, "seed": 0, "clock": clock, "train_samples": 1000} | other


def commits(workers: int = 4, updates: int = 200, seed: int = 0, step_s: float = 0.1) -> pd.DataFrame:
    """Return commits of an asynchronous run, one worker drawn per update, with the staleness that follows."""
    rng = np.random.default_rng(seed)
    order = rng.integers(workers, size=updates)
    pulled = np.zeros(workers, int)
    staleness = np.empty(updates, int)
    for i, worker in enumerate(order):
        staleness[i], pulled[worker] = i - pulled[worker], i + 1
    return pd.DataFrame(
        {
            "update": np.arange(1, updates + 1),
            "worker": order,
            "staleness": staleness,
            "time_s": np.arange(1, updates + 1) * step_s,
            "steps": 10,
            "samples": 320,
            "loss": 1.0,
            "accuracy": 0.5,
            "commit_norm": 0.1,
            "distance": 0.01 * staleness,
            "bytes_up": 1000,
            "bytes_down": 3000,
            "compute_s": 0.3,
            "exchange_s": 0.1,
            "server_s": 0.25 * step_s,
        }
    )


def evals(
    optimizer: str = "adag", points: int = 50, seed: int = 0, updates: int = 200, step_s: float = 0.1
) -> pd.DataFrame:
    """Return evaluations whose loss falls exponentially to a floor, faster for some optimizers, with a little noise."""
    rng = np.random.default_rng([seed, points])
    update = np.linspace(0, updates, points).round().astype(int)
    tables = []
    for split, gap in (("train", 1.0), ("validation", 0.97)):
        progress = 1 - np.exp(-SPEED.get(optimizer, 0.9) * 4 * update / updates)
        noise = rng.normal(0, 0.008, points) * (update > 0)
        tables.append(
            pd.DataFrame(
                {
                    "update": update,
                    "time_s": update * step_s,
                    "samples": update * 320,
                    "split": split,
                    "loss": 2.3 * (1 - 0.95 * gap * progress) * np.exp(noise),
                    "accuracy": np.clip(0.1 + 0.9 * gap * progress + noise, 0, 1),
                }
            )
        )
    return pd.concat(tables).sort_values(["update", "split"], kind="stable", ignore_index=True)


def write(
    folder: Path,
    *,
    settings: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
    commit_rows: pd.DataFrame | None = None,
    eval_rows: pd.DataFrame | None = None,
) -> Path:
    """Write a finished run's folder; parts that are not given have the defaults above."""
    settings = settings or config()
    optimizer, seed, workers = settings["optimizer"]["name"], settings["seed"], settings["workers"]
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "run.json").write_text(json.dumps((facts or info()) | {"workers": workers}))
    frames = {
        "commits": commits(workers, seed=seed) if commit_rows is None else commit_rows,
        "evals": evals(optimizer, seed=seed) if eval_rows is None else eval_rows,
    }
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet")
    return folder


def stream(path: Path, frame: pd.DataFrame, batches: int) -> Path:
    """Write a frame as an Arrow stream of several batches, as a run under way does."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=-(-len(frame) // batches)):
            writer.write_batch(batch)
    return path


def sweep(
    folder: Path,
    optimizers: Sequence[str] = tuple(SPEED),
    workers: Sequence[int] = (4,),
    windows: Sequence[int] = (10,),
    seeds: Sequence[int] = (0,),
) -> Path:
    """Write one run per combination; runs of one optimizer and seed have the same records."""
    for optimizer, seed in product(optimizers, seeds):
        base = write(folder / f"{optimizer}-s{seed}", settings=config(optimizer, seed=seed))
        for count, window in product(workers, windows):
            copy = shutil.copytree(base, folder / f"{optimizer}-s{seed}-n{count}-w{window}")
            settings = config(optimizer, seed, count) | {"optimizer": {"name": optimizer, "window": window}}
            (copy / "config.yaml").write_text(yaml.safe_dump(settings))
        shutil.rmtree(base)
    return folder
