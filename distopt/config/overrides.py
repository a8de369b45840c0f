"""Composing a configuration from the packaged defaults and overrides."""

import difflib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distopt.errors import ConfigError

GROUPS = ("optimizer", "local", "model", "dataset", "launcher", "cluster", "experiment")


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """Compose the configuration from the packaged defaults and Hydra overrides (`optimizer=agn`, `workers=8`).

    Raises:
        ConfigError: every override that names something that does not exist.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    check_overrides(overrides)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("distopt.conf", version_base="1.3"):
            return compose("config", overrides=list(overrides))
    except HydraException as error:
        raise ConfigError(str(error).strip()) from None


def check_overrides(overrides: Sequence[str]) -> None:
    """Check that overrides name existing choices and keys, all of them, also inside a sweep.

    Raises:
        ConfigError: with one problem per override that names something unknown.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(str(error).strip()) from None
    problems: list[str] = []
    known: dict[str, str] = {}  # a valid choice per group, to look the other keys up in
    for override in parsed:
        if override.key_or_group in GROUPS and override.package is None:
            values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
            for value in map(text, values):
                if value not in choices(override.key_or_group) and (value, override.key_or_group) != (
                    "null",
                    "experiment",
                ):
                    problems.append(unknown(f"{override.key_or_group}={value}", value, choices(override.key_or_group)))
                else:
                    known.setdefault(override.key_or_group, value)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("distopt.conf", version_base="1.3"):
            base = compose("config", overrides=[f"{group}={value}" for group, value in known.items()])
    except HydraException as error:
        raise ConfigError(f"{error}".strip()) from None
    for override in parsed:
        key = override.key_or_group
        if key in GROUPS or key.startswith("hydra") or override.is_add() or override.is_delete():
            continue
        if not _exists(base, key):
            parent, _, last = key.rpartition(".")
            name = last if _exists(base, parent) else key.partition(".")[0]
            problems.append(unknown(key, name, _siblings(base, parent), "key"))
    if problems:
        raise ConfigError(problems)


def text(value: Any) -> str:
    """Return a value as it is written on the command line."""
    return "null" if value is None else str(value)


def _exists(config: DictConfig, key: str) -> bool:
    parent, _, last = key.rpartition(".")
    try:
        node = OmegaConf.select(config, parent) if parent else config
    except OmegaConfBaseException:
        return False
    return isinstance(node, DictConfig) and last in node.keys()  # noqa: SIM118 - `in` is False for missing values


def _siblings(config: DictConfig, parent: str) -> list[str]:
    node = OmegaConf.select(config, parent) if parent and _exists(config, parent) else config
    return sorted(str(k) for k in (node if isinstance(node, DictConfig) else config))


def unknown(what: str, name: str, known: Sequence[str], kind: str = "choice") -> str:
    """Say that a name does not exist, what is like it, and what there is."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return f"{what}: no such {kind}{hint} There are: {', '.join(known)}"


@cache
def choices(group: str) -> tuple[str, ...]:
    """Return the names that a configuration group offers."""
    return tuple(descriptions(group))


@cache
def descriptions(group: str) -> Mapping[str, str]:
    """Return the choices of a group with the one-line explanation that opens each file (nested ones as `a/b`)."""
    found: dict[str, str] = {}

    def visit(folder: Any, prefix: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.is_dir() and not entry.name.startswith("_"):
                visit(entry, f"{prefix}{entry.name}/")
            elif entry.name.endswith(".yaml"):
                lines = [line for line in entry.read_text(encoding="utf-8").splitlines() if not line.startswith("# @")]
                found[prefix + entry.name.removesuffix(".yaml")] = lines[0].lstrip("# ")

    folder = resources.files("distopt.conf").joinpath(group)
    if folder.is_dir():
        visit(folder, "")
    return found
