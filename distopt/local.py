"""The local optimizers: the gradient method that a worker runs inside its window, by name from optax."""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
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
    "max_norm": or_null(number(0, above=True)),
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
            has them (None: all), `max_norm` (see `projected`), and the method's own settings under the names optax
            gives them (`momentum`, `b1`, `eps`, ...).
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
        if (radius := settings.get("max_norm")) is not None:
            parts.append(projected(radius))
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


def projected(radius: float) -> optax.GradientTransformation:
    """Return what keeps the norm of each unit's incoming weights w at most a radius c: u ← P(w + u) − w.

    P(w) = w min(1, c / ‖w‖₂) is the projection onto a ball, and u the update that the method makes. Units are those of
    Flax's layers: of leaves named `kernel` with two axes or more, along the last one. Layers that a model stacks in one
    leaf, as `gpt` does from 6 on, count as one.

    Source: N. Srivastava et al., "Dropout", 2014, section 5.1, after N. Srebro and A. Shraibman, "Rank, Trace-Norm and
    Max-Norm", 2005.
    """

    def update(updates: Params, state: Any, params: Params | None = None) -> tuple[Params, Any]:
        def one(path: tuple, u: jax.Array, w: jax.Array) -> jax.Array:
            if not _is_kernel(path, w):
                return u
            after = w + u
            norms = jnp.sqrt(jnp.sum(after**2, axis=tuple(range(w.ndim - 1)), keepdims=True))
            return jnp.where(norms > radius, after * (radius / norms) - w, u)

        return jax.tree_util.tree_map_with_path(one, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def has_units(params: Params) -> bool:
    """Return whether parameters have incoming weights that `max_norm` can bound; arrays or their shapes."""
    return any(_is_kernel(path, leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params))


def _is_kernel(path: tuple, leaf: jax.Array) -> bool:
    return bool(path) and getattr(path[-1], "key", None) == "kernel" and len(leaf.shape) > 1
