"""TensorBoard: event files in `tensorboard/`; view them with `tensorboard --logdir results`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from tensorboardX import SummaryWriter


class TensorBoard:
    """Writes scalars with the update as step, and configuration and summary as text."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def log(self, update: int, values: Mapping[str, float]) -> None:
        """Write each value as a scalar."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, update)

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Write the summary as text and close the file."""
        self._writer.add_text("summary", _block(json.dumps({"status": status, **summary}, indent=1)))
        self._writer.close()


def start(config: Mapping[str, Any], info: Mapping[str, Any], folder: Path, place: Path) -> TensorBoard:
    """Open an event file; if `place` is not the run's folder, in a subfolder with the run's name."""
    writer = SummaryWriter(str(place / "tensorboard" / ("" if place == folder else folder.name)))
    writer.add_text("config", _block(yaml.safe_dump(dict(config), sort_keys=False)))
    writer.add_text("run", _block(json.dumps(dict(info), indent=1)))
    return TensorBoard(writer)


def _block(text: str) -> str:
    """Return text as a Markdown code block, which TensorBoard shows unchanged."""
    return "\n".join(f"    {line}" for line in text.splitlines())
