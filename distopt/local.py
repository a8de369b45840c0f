"""The local optimizers: the gradient method that a worker runs inside its window, by name from optax."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import jax
import optax

from distopt.errors import ConfigError
from distopt.rules import Params
from distopt.settings import TEXT, Check, list_of, number, or_null, problem

MAKERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": optax.sgd,
    "nesterov": lambda **settings: optax.sgd(nesterov=True, **settings),
    "adam": optax.adam,
    "adamw": optax.adamw,
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
}


COMMON: dict[str, Check] = {
    "clip_norm": or_null(number(0, above=True)),
    "weight_decay": number(0),
    "decayed": or_null(list_of(TEXT, "a list of patterns of parameters' names, such as ['*/kernel']", least=1)),
}
"""What every method takes besides its own settings."""


def build(settings: Mapping[str, Any], *, scheduled: bool = False) -> optax.GradientTransformation:
    """Build the local optimizer that the configuration group `local` describes.

    A step is θ ← θ + f (U(g') − η w m ⊙ θ), where U is the method's step with the learning rate η, f the factor of a
    schedule, w the decoupled weight decay and m 1 for the parameters that decay.

    Args:
        settings: `name`, `learning_rate` η, `on_pull` (read by the worker), `clip_norm` c, with which a gradient g
            becomes g' = g min(1, c / ‖g‖₂) before anything else (Pascanu et al. 2013, algorithm 1), `weight_decay` w
            (Loshchilov and Hutter 2019), `decayed`, patterns of the names of the parameters that decay, as `model.npz`
            has them (None: all), and the method's own settings under the names optax gives them (`momentum`, `b1`,
            `eps`, ...).
        scheduled: `update` takes the keyword `factor` f.

    Raises:
        ConfigError: unknown name, or settings that the method does not take.
    """
    if problems := [words for key in COMMON if (words := _problem(settings, key))]:
        raise ConfigError(problems)
    arguments = {key: value for key, value in settings.items() if key not in ("name", "on_pull", *COMMON)}
    clip, weight, patterns = settings.get("clip_norm"), settings.get("weight_decay", 0), settings.get("decayed")
    try:
        parts = [] if clip is None else [optax.clip_by_global_norm(clip)]
        if settings["name"] == "adamw":  # with its decay inside
            arguments |= {"weight_decay": weight, "mask": _mask(patterns)}
        parts.append(MAKERS[settings["name"]](**arguments))
        if weight and settings["name"] != "adamw":
            parts.append(optax.add_decayed_weights(-weight * settings["learning_rate"], _mask(patterns)))
        if scheduled:
            parts.append(_scaled())
        return optax.chain(*parts) if len(parts) > 1 else parts[0]
    except KeyError:
        raise ConfigError(
            f"local.name={settings['name']}: no such optimizer; choose from {', '.join(MAKERS)}"
        ) from None
    except TypeError as error:
        raise ConfigError(f"local={settings['name']}: {error}") from None


def _problem(settings: Mapping[str, Any], key: str) -> str | None:
    return problem(f"local.{key}", settings[key], COMMON[key]) if key in settings else None


def _mask(patterns: list[str] | None) -> Callable[[Params], Any] | None:
    """Return which leaves decay, as a function of the parameters; None: all."""
    if patterns is None:
        return None

    def mask(params: Params) -> Any:
        def decays(path: Any, leaf: Any) -> bool:
            del leaf
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            return any(fnmatchcase(name, pattern) for pattern in patterns)

        return jax.tree_util.tree_map_with_path(decays, params)

    return mask


def _scaled() -> optax.GradientTransformationExtraArgs:
    """Return a transformation that multiplies steps by the keyword `factor`."""

    def update(updates: Params, state: Any, params: Any = None, *, factor: jax.Array, **_: Any) -> tuple[Params, Any]:
        del params
        return jax.tree.map(lambda u: factor.astype(u.dtype) * u, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
