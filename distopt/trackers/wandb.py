"""Weights & Biases: an offline run in `wandb/`, which `wandb sync` can send; $WANDB_MODE overrides offline mode."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb


class WeightsAndBiases:
    """Logs with the update as axis, because evaluations may come after later commits."""

    def __init__(self, run: Any) -> None:
        self._run = run
        run.define_metric("update")
        run.define_metric("*", step_metric="update")

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """Log one row."""
        self._run.log({"update": update, **values})

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Set the run's summary and close it."""
        self._run.summary.update({"status": status, **summary})
        self._run.finish(exit_code=0 if status in ("done", "stopped") else 1)


def start(config: Mapping[str, Any], info: Mapping[str, Any], folder: Path, place: Path) -> WeightsAndBiases:
    """Begin a run that does not record output, code, machine or environment."""
    quiet = wandb.Settings(
        silent=True, console="off", disable_git=True, save_code=False, x_disable_meta=True, x_disable_stats=True
    )
    run = wandb.init(
        project="distopt",
        name=folder.name,
        dir=str(place),
        config={**config, "fingerprint": info["fingerprint"]},
        mode=os.environ.get("WANDB_MODE", "offline"),
        settings=quiet,
    )
    return WeightsAndBiases(run)
