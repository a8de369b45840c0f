"""The configuration of a run that is resumed, from its folder."""

import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from distopt.config.identity import IRRELEVANT
from distopt.config.overrides import GROUPS, parse
from distopt.errors import ConfigError
from distopt.files.untrusted import BROKEN, read_mapping, reason
from distopt.settings import flat, shown

PLACE = {"output", "name", "seeds", "resume"}  # the run's folder stays where it is


def recorded(overrides: Sequence[str]) -> DictConfig | None:
    """Return the configuration of the run that `resume=DIR` among overrides names; None without such an override.

    Overrides that do not change what is computed are applied (`checkpoint.every`, `launcher.timeout`, ...).

    Raises:
        ConfigError: no readable run in DIR, or overrides that would make it another run.
    """
    if not any(override.startswith("resume=") for override in overrides):
        return None
    given = {override.key_or_group: override.value() for override in parse(overrides)}
    if given["resume"] is None:
        return None
    return resuming(Path(os.path.expanduser(str(given["resume"]))).absolute(), given)


def resuming(folder: Path, given: dict[str, object] | None = None) -> DictConfig:
    """Return the configuration with which the run in a folder goes on; see `recorded`."""
    try:
        plain = read_mapping(folder / "config.yaml")
    except BROKEN as error:
        raise ConfigError(
            f"resume={folder}: no run there (config.yaml: {reason(error)}); give what `results:` named"
        ) from None
    config = OmegaConf.create({"checkpoint": {"every": None, "seconds": None}} | plain)
    had = flat(plain) | {group: plain[group].get("name") for group in GROUPS if group in plain}
    problems = []
    for key, value in (given or {}).items():
        if key in IRRELEVANT:
            OmegaConf.update(config, key, had.get(key) if key in PLACE else value)
        elif value != had.get(key):
            problems.append(f"{key}={shown(value)}: the run to resume has {shown(had.get(key))}; leave {key} out")
    if problems:
        raise ConfigError(problems)
    config["resume"] = str(folder)
    return config
