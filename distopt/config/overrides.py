"""Composing a configuration from the packaged defaults and overrides."""

import difflib
import itertools
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distopt.errors import ConfigError
from distopt.files.untrusted import BROKEN, read_mapping, reason, regular
from distopt.settings import flat, shown

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

DEEPEST = 5  # folders within a group
PLACES = ("output", "trackers_output")  # folders, in which `~` is the home folder
MOST_CHOICES = 100  # checked values of one override
GROUPS = ("optimizer", "compression", "local", "schedule", "model", "dataset", "launcher", "cluster", "experiment")


def compose(overrides: Sequence[str] = (), folder: str | None = None, name: str = "config") -> DictConfig:
    """Compose a configuration from the packaged defaults and Hydra overrides (`optimizer=agn`, `workers=8`).

    Args:
        overrides: as on the command line, each with one value; see `words`.
        folder: the user's own files, in subfolders as in `conf/`.
        name: the primary configuration.

    Raises:
        ConfigError: with every override that names something unknown, or with one that has several values.
    """
    overrides = words(overrides)
    if name == "config":
        check_overrides(overrides, folder)
    check_single(overrides)
    return compose_unchecked(overrides, folder, name)


def words(overrides: Any) -> list[str]:
    """Return overrides as a list; one text may hold several of them, separated by spaces as in a shell.

    Raises:
        ConfigError: they are no texts.
    """
    if isinstance(overrides, str):
        try:
            return shlex.split(overrides)
        except ValueError as error:
            raise ConfigError(f"{overrides}: cannot be split into overrides ({reason(error)})") from None
    found = list(overrides) if isinstance(overrides, Iterable) and not isinstance(overrides, bytes) else [overrides]
    for word in found:
        if not isinstance(word, str):
            raise ConfigError(f"{word!r} is no override; give texts such as ['optimizer=agn', 'workers=8']")
    return found


def check_single(overrides: Sequence[str]) -> None:
    """Raise ConfigError if an override has several values, which are several runs."""
    for override in parse(overrides):
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.input_line}: several values are several runs: `distopt run -m`, or one call per value"
            )


def compose_unchecked(
    overrides: Sequence[str], folder: str | None = None, name: str = "config", *, hydra: bool = False
) -> DictConfig:
    """Compose without checking names; with Hydra's own settings if `hydra`."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    if folder is not None:
        overrides = [*overrides, f"hydra.searchpath=['file://{Path(folder).absolute()}']"]
    callers = GlobalHydra.instance().hydra  # of an application that uses Hydra itself
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("distopt.conf", version_base="1.3"):
            composed = compose(name, overrides=list(map(at_home, overrides)), return_hydra_config=hydra)
    except (HydraException, *BROKEN) as error:
        raise ConfigError(_told(error)) from None
    finally:
        GlobalHydra.instance().hydra = callers
    for key in PLACES:
        if isinstance(place := composed.get(key), str) and place.startswith("~"):
            OmegaConf.update(composed, key, os.path.expanduser(place))
    return composed


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
    for override in map(at_home, overrides):
        try:
            parsed.append(parser.parse_override(override))
        except (HydraException, *BROKEN) as error:
            raise ConfigError(
                f"{override}: cannot be parsed ({reason(error).partition(': ')[0]}); write KEY=VALUE, and values with "
                "other characters than letters and digits in quotes: 'KEY=\"VALUE\"'"
            ) from None
    return parsed


def at_home(override: str) -> str:
    """Return an override with a value such as `~/data.csv` in the words of Hydra's grammar, which has no `~`."""
    key, sign, value = override.partition("=")
    if not sign or not value.startswith("~"):
        return override
    return f'{key}="{os.path.expanduser(value)}"'


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
            for value in map(shown, itertools.islice(_chosen(override, offered[group]), MOST_CHOICES)):
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
            if parent and _exists(base, parent) and not _siblings(base, parent):
                problems.append(f"{key}: {parent} holds only what you add; write +{override.input_line}")
                continue
            known_keys = [*GROUPS, *flat(OmegaConf.to_container(base))]  # type: ignore[arg-type]
            problems.append(unknown(key, name, _siblings(base, parent), "key", nearest(key, known_keys)))
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


def _chosen(override: "Override", offered: Sequence[str]) -> Iterator[Any]:
    """Yield the choices that an override names."""
    from hydra.core.override_parser.types import Glob

    value = override.value()
    if isinstance(value, Glob):
        yield from value.filter(list(offered)) or value.include
    elif override.is_sweep_override():
        yield from override.sweep_string_iterator()
    else:
        yield value


def nearest(key: str, known: Sequence[str]) -> str | None:
    """Return the known key that a wrong one most likely stands for.

    That is one of the same last name, one whose initials it has (`lr`: `local.learning_rate`), or a similar one.
    """
    last = key.rpartition(".")[2]
    names = {each: each.rpartition(".")[2] for each in known}
    same = [each for each, name in names.items() if name == last]
    initials = [each for each, name in names.items() if "".join(word[:1] for word in name.split("_")) == last]
    similar = difflib.get_close_matches(key, known, n=1) or [
        each for close in difflib.get_close_matches(last, names.values(), n=1) for each in known if names[each] == close
    ]
    return next(iter([*same, *initials, *similar]), None)


def unknown(what: str, name: str, known: Sequence[str], kind: str = "choice", hint_at: str | None = None) -> str:
    """Return a message that a name does not exist, with the most similar name and all names."""
    close = [hint_at] if hint_at else difflib.get_close_matches(name, known, n=1)
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
