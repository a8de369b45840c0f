"""Records → the run's folder, written so that a crash at any moment leaves complete records readable."""

import json
import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from distopt.errors import ResultsError, unwritten
from distopt.files.atomic import replacing, write_atomically
from distopt.files.lock import Lock
from distopt.records import COLUMNS, FINISHED, RESTARTS, Checkpoint, News, Outcome
from distopt.runs import checkpoints
from distopt.runs.growing_table import Stream

RESERVE, RESERVED = ".reserve", 2**18  # bytes reserved for the end of the run, in case the disk fills up
BEGUN = {"schema": 1, "status": "running", "reason": None}


def make_folder(config: Mapping[str, Any], info: Mapping[str, Any]) -> Path:
    """Create the folder of a run, never one that exists; it appears with `config.yaml` and `run.json` in it.

    Raises:
        ResultsError: the folder exists (`name` is set), or cannot be written.
    """
    output, name = Path(config["output"]).absolute(), config["name"] or _name(config, info["fingerprint"])
    hidden = output / f".{name}-{os.getpid()}"
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        write_atomically(hidden / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False).encode())
        (hidden / RESERVE).write_bytes(os.urandom(RESERVED))  # zeros might take no room
        write_atomically(hidden / "run.json", _json(info))
        for attempt in range(1 if config["name"] else 1000):
            folder = output / (name + (f"-{attempt}" if attempt else ""))
            with suppress(OSError):  # another process was faster
                if not folder.exists():  # a rename would replace an empty folder
                    return hidden.rename(folder)
    except OSError as error:
        raise ResultsError(
            f"output={config['output']}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    if config["name"]:
        raise ResultsError(f"name={name}: {folder} exists; choose another name, or remove it")
    raise ResultsError(f"output={config['output']}: no free name for the run's folder")


def named_after(fingerprint: str) -> str:
    """Return the last part of the name of a run's folder, which tells configurations apart."""
    return fingerprint[:6]


def _name(config: Mapping[str, Any], fingerprint: str) -> str:
    """Return a name that tells when a run began and what it runs."""
    words = [
        time.strftime("%Y%m%d-%H%M%S"),
        *(config[group]["name"] for group in ("optimizer", "model", "dataset")),
        f"n{config['workers']}",
        f"s{config['seed']}",
        named_after(fingerprint),
    ]
    return re.sub(r"[^\w.-]", "_", "-".join(words))


class Recorder:
    """Writes one run's folder as news arrive."""

    def __init__(
        self, folder: Path, info: Mapping[str, Any], lock: Lock | None = None, start: Checkpoint | None = None
    ) -> None:
        """Open a folder.

        Args:
            folder: that `make_folder` made.
            info: for `run.json`.
            lock: on the folder, if this process holds it already.
            start: the checkpoint that a run resumes from.
        """
        self.folder = folder
        self._last = start and start._replace(arrays={})
        self.info = {"started": datetime.now(UTC).isoformat(), **info, **BEGUN}
        self._lock = lock or Lock(folder)
        self._streams = {name: Stream(folder / f"{name}.arrow", list(first)) for name, first in COLUMNS.items()}
        self._reserve = folder / RESERVE
        if not self._reserve.exists():
            self._reserve.write_bytes(os.urandom(RESERVED))
        self._write_info()

    def write(self, news: News) -> None:
        """Append rows to the tables, and keep a checkpoint; complete batches survive a crash."""
        self._streams["commits"].append(news.commits)
        self._streams["evals"].append(news.evals)
        self._streams["events"].append(news.events)
        if news.checkpoint:
            for stream in self._streams.values():
                stream.sync()
            rows = {name: stream.count for name, stream in self._streams.items()}
            run = checkpoints.identity(self.info)
            checkpoints.write(self.folder, news.checkpoint._replace(rows=rows, run=run))
            self._last = news.checkpoint._replace(rows=rows, arrays={})

    def undo(self, reason: str | None = None) -> dict[str, Any]:
        """Remove what was recorded after the last checkpoint, or everything without one; return its `resumed` entry.

        The removed rows are kept below `undone/`, in files numbered like the entries of `resumed` in `run.json`.
        """
        for name in ("summary.json", "model.npz"):
            (self.folder / name).unlink(missing_ok=True)
        resumed = self.info.setdefault("resumed", [])
        update, rows = (self._last.update, self._last.rows) if self._last else (0, {})
        entry = {"at": datetime.now(UTC).isoformat(), "reason": reason, "update": update}
        entry |= {"lost_updates": 0, "lost_commits": 0}
        for name, stream in self._streams.items():
            undone = stream.cut(rows.get(name, 0))
            if undone:
                (self.folder / "undone").mkdir(exist_ok=True)
                pq.write_table(undone, self.folder / "undone" / f"{len(resumed) + 1}-{name}.parquet")
            if undone and name == "commits":
                entry |= {"lost_updates": undone["update"][-1].as_py() - update, "lost_commits": undone.num_rows}
        checkpoints.forget(self.folder, after=update)
        self.info["resumed"] = [*resumed, entry]
        self._write_info()
        return entry

    def finish(self, outcome: Outcome, seconds: Mapping[str, float], *, pulls: bool = False, fetch: int = 1) -> None:
        """Close the tables and write the model, the summary and how the run ended.

        A run whose records contradict each other, or cannot be written, has failed, whatever its launcher says; the
        rows that were written stay readable.

        Args:
            outcome: how training ended.
            seconds: of each phase.
            pulls: workers may have pulled the center at another moment than with the reply to a commit.
            fetch: commits of a worker per reply.
        """
        self._reserve.unlink(missing_ok=True)
        self.info |= {"status": outcome.status, "reason": outcome.reason, **outcome.details}
        self.info |= {f"{phase}_s": value for phase, value in seconds.items()}
        self.info["total_s"] = sum(seconds.values())
        for write in (*(stream.close for stream in self._streams.values()), lambda: self._save(outcome.center)):
            try:
                write()
            except OSError as error:
                if self.info["status"] != "failed":
                    self.info |= {"status": "failed", "reason": unwritten(error)}
        self._write_info()
        from distopt.metrics import conservation, staleness
        from distopt.runs import results  # pandas imports slowly, and training need not wait for it

        run = results.load(self.folder)
        reason, restarted = None, bool(run.events["kind"].isin(RESTARTS).any())
        if wrong := staleness.contradictions(run.commits, run.events, pulls=pulls, fetch=fetch):
            reason = f"the staleness of {wrong} commits contradicts their order: the launcher is wrong"
        elif wrong := conservation.violations(run.commits, pulls=pulls or restarted):
            reason = f"{wrong} updates changed what elastic averaging conserves: a commit was lost, or applied twice"
        if reason:
            self.info |= {"status": "failed", "reason": reason}
            self._write_info()
        elif outcome.status in FINISHED and len(run.commits) and staleness.applied(run.commits).empty:
            told = f"all {len(run.commits)} commits were refused or dropped: nothing was applied"
            self.info |= {"status": "diverged", "reason": told}
            self._write_info()
        summary = results.summarize(run.commits, run.evals, self.info)
        write_atomically(self.folder / "summary.json", json.dumps(summary, indent=2).encode())
        self._lock.release()

    def _save(self, center: Mapping[str, Any] | None) -> None:
        if center is None:
            return
        with replacing(self.folder / "model.npz") as file:
            np.savez(file, **center)

    def _write_info(self) -> None:
        write_atomically(self.folder / "run.json", _json(self.info))


def _json(info: Mapping[str, Any]) -> bytes:
    finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in info.items()}
    return json.dumps({**BEGUN, **finite}, indent=2).encode()
