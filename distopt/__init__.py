"""distopt: compare distributed optimizers under one roof.

`run` trains, `load` reads a run's folder, `compare` makes a table of several runs. Importing this package is cheap; the
functions import what they need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

    from distopt.runs.results import Run

__all__ = ["compare", "load", "run"]


def run(config: str | Sequence[str] | Mapping[str, Any] | DictConfig) -> Run:
    """Run one experiment and return its results.

    Args:
        config: overrides as on the command line (`["optimizer=agn", "workers=8"]`, `["resume=DIR"]`), one string with
            spaces between them, or a whole configuration as `distopt.config.compose` returns it, or as `Run.config` is.

    Raises:
        ConfigError: anything wrong with the configuration, before anything starts.
        DistoptError: the run could not be started or recorded.
    """
    from distopt.config import compose, recorded, words
    from distopt.runner import run as runner

    if isinstance(config, Mapping):
        return runner.run(config)
    overrides = words(config)
    resumed = recorded(overrides)
    return runner.run(compose(overrides) if resumed is None else resumed)


def load(folder: str | Path) -> Run:
    """Read the run in a folder; see `distopt.runs.results.load`."""
    from distopt.runs import results

    return results.load(folder)


def compare(runs: Run | str | Path | Iterable[Run | str | Path], **options: Any) -> pd.DataFrame:
    """Compare runs, or the runs below folders; see `distopt.report.comparison.compare.compare`."""
    from distopt.report.comparison import compare as comparison

    several = isinstance(runs, Iterable) and not isinstance(runs, str | bytes)
    return comparison.compare(list(runs) if several else [runs], **options)  # type: ignore[arg-type, list-item]
