"""MLflow: the SQLite file `mlflow.db`; view it with `mlflow ui --backend-store-uri sqlite:///PATH/mlflow.db`."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from distopt.settings import flat

EXPERIMENT = "distopt"
LONGEST = 500  # characters of a parameter that MLflow accepts
STATUSES = {"done": "FINISHED", "stopped": "FINISHED", "interrupted": "KILLED"}


class MLflow:
    """Logs batches of metrics with the update as step, by its own client without global state."""

    def __init__(self, client: MlflowClient, run: str) -> None:
        self._client = client
        self._run = run

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """Log one batch."""
        now = int(time.time() * 1000)
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, update) for name, value in values.items()])

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Log the summary's numbers and end the run."""
        numbers = {name: float(v) for name, v in summary.items() if isinstance(v, int | float)}
        self.log(int(summary.get("updates", 0)), {f"summary/{name}": value for name, value in numbers.items()})
        self._client.set_tag(self._run, "status", status)
        self._client.set_terminated(self._run, STATUSES.get(status, "FAILED"))


def start(config: Mapping[str, Any], info: Mapping[str, Any], folder: Path, place: Path) -> MLflow:
    """Open the database and begin a run with all settings as parameters."""
    place.mkdir(parents=True, exist_ok=True)
    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.WARNING)
    client = MlflowClient(f"sqlite:///{place / 'mlflow.db'}")
    found = client.get_experiment_by_name(EXPERIMENT)
    artifacts = (place / "mlflow-artifacts").as_uri()
    experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT, artifacts)
    tags = {"fingerprint": str(info["fingerprint"]), "folder": str(folder)}
    run = client.create_run(experiment, run_name=folder.name, tags=tags).info.run_id
    client.log_batch(run, params=[Param(key, str(value)[:LONGEST]) for key, value in flat(config).items()])
    return MLflow(client, run)
