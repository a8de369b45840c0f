"""Parts that come from other packages: by entry point, or named as `module:attribute`."""

import importlib
from importlib.metadata import entry_points
from typing import Any

from distopt.errors import ConfigError


def find(kind: str, name: str, key: str | None = None) -> Any | None:
    """Return what another package offers under a name, or None.

    Args:
        kind: `optimizers`, `models` or `datasets`: the entry-point group is `distopt.KIND`.
        name: of an entry point, or `module:attribute` of something importable.
        key: the setting that has the name; by default that of the group.

    Raises:
        ConfigError: a `module:attribute` that cannot be imported.
    """
    for point in entry_points(group=f"distopt.{kind}", name=name):
        return point.load()
    module, colon, attribute = name.partition(":")
    if not colon:
        return None
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{key or f'{kind[:-1]}.name'}={name}: {error}; install its package or put its folder on PYTHONPATH"
        ) from None
