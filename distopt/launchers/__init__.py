"""Launchers: what runs workers and server.

Each module has

- `launch`, which takes a list of experiments and yields news, among them the outcome of each;
- `TOGETHER`, whether the list may hold several experiments, which then differ only in the seed;
- `check`, which returns warnings about an experiment, and raises an error if it cannot run;
- `CLOCK`, `wall` or `virtual`.

A launcher never asks which algorithm it runs. It promises: updates are serial; the commits of one update are ordered by
worker; a worker's parameters change only by its own steps and by `adopt`; batches, initial values and keys depend on
(seed, worker, step) alone. So a run is a pure function of (configuration, seed, commit order).
"""

import importlib
from collections.abc import Mapping
from typing import Any

MODULES = {"ray": "ray.launch", "sim": "sim", "replay": "replay"}


def launcher(config: Mapping[str, Any]) -> Any:
    """Return the module of the launcher that a resolved configuration chooses."""
    return importlib.import_module(f"{__name__}.{MODULES[config['launcher']['name']]}")
