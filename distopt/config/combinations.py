"""The configurations of a sweep: one per combination of values; combinations with the same choices share a base."""

import copy
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distopt.config.overrides import GROUPS, check_overrides, check_single, choices, compose_unchecked, parse, words
from distopt.config.recorded import recorded
from distopt.config.validation import validate
from distopt.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MOST_RUNS = 10_000  # per sweep; composing this many takes minutes, their folders and tables take hours
PLUGINS = {"launcher": "BasicLauncher", "sweeper": "BasicSweeper"}


class Combination(NamedTuple):
    """One configuration of a sweep."""

    words: tuple[str, ...]  # its overrides, each with one value
    config: DictConfig


def combine(
    overrides: Sequence[str], folder: str | None = None, name: str = "config", *, multirun: bool = True
) -> list[Combination]:
    """Return the configurations that overrides describe; the last override varies fastest.

    Args:
        overrides: as on the command line; with `multirun`, several values by commas, `range(3)` and the like, in
            addition to those of the chosen experiment under `hydra.sweeper.params`.
        folder: the user's own configuration files.
        name: the primary configuration.
        multirun: allow several values; `hydra.mode=MULTIRUN` in the configuration also does.

    Raises:
        ConfigError: unknown names in any combination, more than `MOST_RUNS` runs, or a sweep that Hydra would carry
            out.
    """
    overrides = words(overrides)
    if (resumed := recorded(overrides)) is not None:
        if multirun:
            raise ConfigError(f"resume={resumed.resume} is one run: leave -m out; a sweep goes on if it is given again")
        return [Combination(tuple(overrides), resumed)]
    if name == "config":
        check_overrides(overrides, folder)
    parsed = parse(overrides)
    base = compose_unchecked(
        [o.input_line for o in parsed if not o.is_sweep_override() and _chooses(o)], folder, name, hydra=True
    )
    if not multirun and str(base.hydra.mode) != "RunMode.MULTIRUN":
        check_single(overrides)
        return _per_seed(Combination(tuple(overrides), compose_unchecked(overrides, folder, name)))
    for plugin, only in PLUGINS.items():
        if not str(base.hydra[plugin].get("_target_", only)).endswith(only):
            raise ConfigError(
                f"hydra/{plugin}: distopt carries sweeps out itself, one run after the other; leave it out"
            )
    params = parse([f"{key}={value}" for key, value in (base.hydra.sweeper.get("params") or {}).items()])
    values = {override.get_key_element(): _values(override) for override in [*params, *parsed]}
    for override in params:
        if override.key_or_group == "experiment":  # it consists of others, which take its place
            values["experiment"] = _values(override)
    _limit(math.prod(map(len, values.values())))
    bases: dict[tuple[str, ...], DictConfig] = {}
    combinations = (_combination(words, bases, folder, name) for words in itertools.product(*values.values()))
    runs: list[Combination] = []
    for combination in combinations:
        runs += _per_seed(combination)
        _limit(len(runs))
    return runs


def _limit(runs: int) -> None:
    """Raise ConfigError if there are more than `MOST_RUNS` runs."""
    if runs > MOST_RUNS:
        raise ConfigError(f"more than {MOST_RUNS:,} runs: give fewer values, or split the sweep")


def expand(config: DictConfig) -> list[DictConfig]:
    """Return one configuration per entry of `seeds`; the configuration itself if there are none.

    Raises:
        ConfigError: the configuration is invalid, or `seeds` is an interpolation.
    """
    if OmegaConf.is_interpolation(config, "seeds"):
        raise ConfigError(f"seeds={OmegaConf.to_container(config)['seeds']}: must be written out")  # type: ignore[index, call-overload]
    if config.get("seeds") is None:
        return [config]
    return [OmegaConf.merge(config, {"seed": seed, "seeds": None}) for seed in validate(config)["seeds"]]  # type: ignore[misc]


def _per_seed(combination: Combination) -> list[Combination]:
    words = tuple(word for word in combination.words if not word.startswith("seeds="))
    each = expand(combination.config)
    return [Combination((*words, f"seed={one.seed}"), one) for one in each] if len(each) > 1 else [combination]


def _chooses(override: "Override") -> bool:
    """Return whether an override selects files, or does more than set the value of an existing key."""
    key = override.key_or_group
    plain = not (override.is_add() or override.is_force_add() or override.is_delete()) and override.package is None
    return not plain or key in GROUPS or key.startswith("hydra") or "/" in key


def _values(override: "Override") -> list[str]:
    """Return an override once for each of its values, at most `MOST_RUNS` + 1 times."""
    from hydra.core.override_parser.types import Glob, RangeSweep

    key, value = override.get_key_element(), override.value()
    if isinstance(value, RangeSweep) and value.shuffle:  # Hydra builds the whole list to shuffle it
        _limit(sum(1 for _ in itertools.islice(value.range(), MOST_RUNS + 1)))
    if isinstance(value, Glob):
        return [f"{key}={name}" for name in value.filter(list(choices(key)))]
    if override.is_sweep_override():
        return [f"{key}={value}" for value in itertools.islice(override.sweep_string_iterator(), MOST_RUNS + 1)]
    return [str(override.input_line)]


def _combination(
    words: tuple[str, ...], bases: dict[tuple[str, ...], DictConfig], folder: str | None, name: str
) -> Combination:
    """Compose the files that the choices among `words` select, once per selection, and set the other values."""
    parsed = parse(words)
    choices = tuple(word for word, override in zip(words, parsed, strict=True) if _chooses(override))
    if choices not in bases:
        bases[choices] = compose_unchecked(choices, folder, name)
    config = copy.deepcopy(bases[choices])
    for override in parsed:
        if not _chooses(override):
            try:
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
            except OmegaConfBaseException as error:
                reason = str(error).splitlines()[0]
                raise ConfigError(f"{override.input_line} with {' '.join(choices) or name}: {reason}") from None
    return Combination(words, config)
