"""Composing a configuration from the packaged defaults and overrides."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distopt.errors import ConfigError
from distopt.files.untrusted import BROKEN, read_mapping, reason, regular
from distopt.settings import shown

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

DEEPEST = 5  # folders within a group
MOST_CHOICES = 100  # checked values of one override
GROUPS = ("optimizer", "compression", "local", "model", "dataset", "launcher", "cluster", "experiment")


def compose(overrides: Sequence[str] = (), folder: str | None = None, name: str = "config") -> DictConfig:
    """Compose a configuration from the packaged defaults and Hydra overrides (`optimizer=agn`, `workers=8`).

    Args:
        overrides: as on the command line, each with one value.
        folder: the user's own files, in subfolders as in `conf/`.
        name: the primary configuration.

    Raises:
        ConfigError: with every override that names something unknown.
    """
    if name == "config":
        check_overrides(overrides, folder)
    return compose_unchecked(overrides, folder, name)


def compose_unchecked(
    overrides: Sequence[str], folder: str | None = None, name: str = "config", *, hydra: bool = False
) -> DictConfig:
    """Compose without checking names; with Hydra's own settings if `hydra`."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    if folder is not None:
        overrides = [*overrides, f"hydra.searchpath=['file://{Path(folder).absolute()}']"]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("distopt.conf", version_base="1.3"):
            return compose(name, overrides=list(overrides), return_hydra_config=hydra)
    except (HydraException, *BROKEN) as error:
        raise ConfigError(_told(error)) from None


def _told(error: BaseException) -> str:
    """Return Hydra's message in one line, without its search path and OmegaConf's type information."""
    from hydra.errors import HydraException

    words = str(error).partition("Config search path")[0].partition("full_key")[0]
    return " ".join(words.split()) if isinstance(error, HydraException) else f"no configuration ({reason(error)})"


def parse(overrides: Sequence[str]) -> list["Override"]:
    """Parse overrides by Hydra's grammar.

    Raises:
        ConfigError: an override that does not follow the grammar.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    parsed: list[Override] = []
    for override in overrides:
        try:
            parsed.append(parser.parse_override(override))
        except (HydraException, *BROKEN) as error:
            raise ConfigError(
                f"{override}: cannot be parsed ({reason(error).partition(': ')[0]}); write KEY=VALUE, and values with "
                "other characters than letters and digits in quotes: 'KEY=\"VALUE\"'"
            ) from None
    return parsed


def check_overrides(overrides: Sequence[str], folder: str | None = None) -> None:
    """Check that overrides name existing choices and keys, also in sweeps.

    Raises:
        ConfigError: with one problem per unknown choice or key.
    """
    parsed = parse(overrides)
    offered = {group: choices(group, folder) for group in GROUPS}
    problems: list[str] = []
    known: dict[str, str] = {}  # a valid choice per group, whose keys the other overrides may set
    for override in parsed:
        group = override.key_or_group
        if group in GROUPS and override.package is None:
            values = override.sweep_string_iterator() if override.is_sweep_override() else [override.value()]
            for value in map(shown, itertools.islice(values, MOST_CHOICES)):
                if value not in offered[group] and (value, group) != ("null", "experiment"):
                    problems.append(unknown(f"{group}={value}", value, offered[group]))
                else:
                    known.setdefault(group, value)
    base = compose_unchecked([f"{group}={value}" for group, value in known.items()], folder)
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
    """Return a message that a name does not exist, with the most similar name and all names."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else "."
    return f"{what}: no such {kind}{hint} There are: {', '.join(known)}"


def choices(group: str, folder: str | None = None) -> tuple[str, ...]:
    """Return the names that a configuration group offers, including those in the user's own folder.

    Raises:
        ConfigError: no such folder, an unreadable file, or a file with the name of a packaged one, which Hydra would
            take.
    """
    packaged = descriptions(group)
    if folder is None:
        return tuple(packaged)
    if not Path(folder).is_dir():
        raise ConfigError(f"--config-dir={folder}: no such folder")
    own = _own(Path(folder) / group)
    if both := own.keys() & packaged.keys():
        name = min(both)
        raise ConfigError(f"{Path(folder) / group / name}.yaml: {group}={name} is there already; rename the file")
    return (*packaged, *own)


def _own(folder: Path) -> dict[str, str]:
    """Return the choices in a folder of the user; raises ConfigError if a file is no mapping of settings."""
    for path in sorted(folder.glob("**/*.yaml")):
        try:
            if regular(path).stat().st_size:
                read_mapping(path)
        except BROKEN as error:
            raise ConfigError(f"{path}: cannot be read ({reason(error)}); mend or remove it") from None
    return _described(folder)


@cache
def descriptions(group: str) -> Mapping[str, str]:
    """Return the packaged choices of a group with the first comment of each file."""
    return _described(resources.files("distopt.conf").joinpath(group))


def _described(folder: Any, prefix: str = "") -> dict[str, str]:
    """Return the first comment of each file below a folder, by file name without suffix (nested files as `a/b`)."""
    found: dict[str, str] = {}
    for entry in sorted(folder.iterdir(), key=lambda e: e.name) if folder.is_dir() else ():
        if entry.is_dir() and not entry.name.startswith("_") and prefix.count("/") < DEEPEST:
            found |= _described(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".yaml"):
            lines = [line for line in entry.read_text(encoding="utf-8").splitlines() if not line.startswith("# @")]
            found[prefix + entry.name.removesuffix(".yaml")] = lines[0].lstrip("# ") if lines else ""
    return found
