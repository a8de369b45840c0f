"""Checking a configuration: all its problems at once, before anything starts."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from distopt import cluster, datasets, trackers
from distopt.config.overrides import GROUPS, unknown
from distopt.errors import ConfigError, listed
from distopt.files.untrusted import reason
from distopt.launchers.ray import faults
from distopt.settings import FLAG, PATH, WORD, Check, list_of, number, one_of, or_null, problem, shown, whole

MANY = 3  # missing parts that are named one by one
FOLDER = PATH._replace(words="the name of a folder")
NAME = Check(
    "a folder name without /, of at most 200 bytes",
    lambda v: PATH.accepts(v) and len(v.encode()) <= 200 and v.isprintable() and "/" not in v and v not in (".", ".."),
)
SHARE, POSITIVE = number(0, 1), number(0, above=True)
KNOWN_TRACKERS = list_of(one_of(*trackers.NAMES), f"a list of some of {', '.join(trackers.NAMES)}", different=True)

CHECKS: Mapping[str, Check] = {
    "workers": whole(1),
    "epochs": or_null(number(0, above=True, most=1e9)),
    "steps": or_null(whole(1)),
    "tokens": or_null(whole(1)),
    "batch_size": whole(1),
    "label_smoothing": number(0, 1, below=True),
    "seed": whole(0),
    "seeds": or_null(list_of(whole(0), "a list of different whole numbers >= 0,", different=True, least=1)),
    "on_bad_commit": one_of("stop", "drop", "restart"),
    "output": FOLDER,
    "name": or_null(NAME),
    "trackers": KNOWN_TRACKERS,
    "trackers_output": or_null(FOLDER),
    "resume": or_null(PATH._replace(words="the folder of a run")),
    "teacher": or_null(PATH._replace(words="the folder of a run")),
    "distillation.temperature": POSITIVE,
    "distillation.share": SHARE,
    "checkpoint.every": or_null(whole(1)),
    "checkpoint.seconds": or_null(POSITIVE),
    "evaluate.points": whole(1),
    "evaluate.every": or_null(whole(1)),
    "evaluate.samples": whole(1),
    "stop.updates": or_null(whole(1)),
    "stop.seconds": or_null(POSITIVE),
    "stop.accuracy": or_null(number(0, above=True, most=1)),
    "stop.loss": or_null(number()),
    "stop.metric": or_null(WORD._replace(words="the name of a metric")),
    "stop.target": or_null(number()),
    "optimizer.window": whole(1),
    "local.learning_rate": POSITIVE,
    "local.momentum": SHARE,
    "local.b1": SHARE,
    "local.b2": SHARE,
    "local.decay": SHARE,
    "local.eps": number(0),
    "local.initial_accumulator_value": number(0),
    "local.on_pull": one_of("keep", "reset"),
    "launcher.workers_per_actor": or_null(whole(1)),
    "launcher.gpus_per_actor": or_null(number(0)),
    "launcher.cpus_per_actor": POSITIVE,
    "launcher.placement": one_of("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"),
    "launcher.object_store_bytes": or_null(whole(75 * 2**20)),
    "launcher.log_to_driver": FLAG,
    "launcher.timeout": POSITIVE,
    "launcher.on_server_loss": one_of("fail", "restore"),
    "launcher.on_worker_loss": one_of("fail", "continue", "replace"),
    "launcher.chaos": faults.CHECK,
    "launcher.width": or_null(whole(1)),
}


def from_plain(plain: Any) -> DictConfig:
    """Return a whole configuration, given as plain containers, as `validate` takes it.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(plain, Mapping):
        raise ConfigError(
            f"{plain!r} is no configuration; give overrides such as ['optimizer=agn'], or settings by name"
        )
    try:
        return OmegaConf.create(dict(plain))
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or "the configuration"
        raise ConfigError(f"{key}: {reason(error)}; give numbers, texts, lists and mappings") from None


def validate(config: DictConfig) -> dict[str, Any]:
    """Check values and their combinations, and return the configuration as plain containers.

    Raises:
        ConfigError: with all problems found.
    """
    try:
        plain = _plain(config)
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None)
        raise ConfigError(f"{key or 'the configuration'}: cannot be resolved ({reason(error)})") from None
    problems = _strange(plain)
    for key, check in CHECKS.items():
        group, _, name = key.rpartition(".")
        node = plain[group] if group else plain
        if name in node and (words := problem(key, node[name], check)):
            problems.append(words)
    problems += datasets.check_settings(plain["dataset"])
    problems += cluster.check_settings(plain["cluster"])
    problems += _unlimited(plain)
    problems += _refused(plain)
    if problems:
        raise ConfigError(problems)
    return plain


def _plain(config: DictConfig) -> dict[str, Any]:
    """Resolve interpolations; refuse a configuration in which a part is missing or of the wrong kind."""
    parts = [*GROUPS[:-1], *(key for key, value in _packaged("config").items() if isinstance(value, dict))]
    if wrong := [key for key in parts if config.get(key) and not isinstance(config[key], DictConfig)]:
        raise ConfigError([f"{key}={shown(config[key])} must hold settings by name" for key in wrong])
    problems = [
        f"{group}.{key} is missing: {group}={config[group].get('name')} needs it"
        for group in ("launcher", "dataset")
        for key in (config.get(group) or {})
        if OmegaConf.is_missing(config[group], key)
    ]
    problems = problems or _incomplete(config)
    names = [group for group in GROUPS[:-1] if config.get(group) and not isinstance(config[group].get("name"), str)]
    if problems := problems or [f"{group}.name={shown(config[group].get('name'))} must be a name" for group in names]:
        raise ConfigError(problems)
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]


@cache
def _packaged(name: str) -> Mapping[str, Any]:
    """Return the settings of a packaged file."""
    loaded = yaml.safe_load(resources.files("distopt.conf").joinpath(f"{name}.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in loaded.items() if key not in ("defaults", "hydra")}


def _incomplete(config: DictConfig) -> list[str]:
    """Return one problem for each missing part of a configuration."""
    absent = [group for group in GROUPS if group != "experiment" and not config.get(group)]
    for key, value in _packaged("config").items():
        if key not in config:
            absent.append(key)
        elif isinstance(value, dict):
            absent += [f"{key}.{name}" for name in value if name not in (config[key] or {})]
    if len(absent) > MANY:
        return [f"{listed(absent, MANY)} are missing; `distopt.config.compose(['optimizer=agn'])` makes a whole one"]
    return [f"{key} is missing; the packaged configuration has it" for key in absent]


def _strange(plain: Mapping[str, Any]) -> list[str]:
    """Return a problem for each key that nothing reads; factories check the keys of their own groups."""
    top = _packaged("config")
    known: dict[str, Mapping[str, Any]] = {key: value for key, value in top.items() if isinstance(value, dict)}
    known["launcher"] = _packaged(f"launcher/{plain['launcher']['name']}")
    problems = [unknown(key, key, [*top, *GROUPS], "key") for key in plain if key not in {*top, *GROUPS}]
    for group, keys in known.items():
        problems += [unknown(f"{group}.{key}", key, [*keys], "key") for key in plain[group] if key not in keys]
    return problems


def _unlimited(plain: Mapping[str, Any]) -> list[str]:
    """Return a problem if nothing would ever end the run."""
    criteria = dict(plain["stop"])
    if without_data := plain["dataset"]["name"] == "none":
        del criteria["accuracy"]  # without data there is no accuracy
    del criteria["metric"]
    budgets = [plain["steps"], plain["tokens"], None if without_data else plain["epochs"]]
    endless = all(value is None for value in budgets) and all(value is None for value in criteria.values())
    if endless and plain["launcher"]["name"] != "replay":
        why = "dataset=none has no epochs" + " and no accuracy" * (plain["stop"]["accuracy"] is not None)
        ways = ", ".join(f"stop.{key}" for key in criteria)
        return [f"{why if without_data else 'epochs=null'}: set steps or one of {ways}"]
    return []


def _refused(plain: Mapping[str, Any]) -> list[str]:
    """Return the problems that the factories of local and distributed optimizer find."""
    import optax

    from distopt import local, optimizers, schedules

    problems: list[str] = []
    if plain["steps"] is not None and plain["tokens"] is not None:
        problems.append(f"steps={plain['steps']} tokens={plain['tokens']}: two budgets; set one of them")
    for build in (
        lambda: local.build(plain["local"]),
        lambda: schedules.build(plain["schedule"]),
        lambda: optimizers.from_config(plain, optax.identity()),
    ):
        try:
            build()
        except ConfigError as error:
            problems += error.problems
    return problems
