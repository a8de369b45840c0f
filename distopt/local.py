"""The local optimizers: the gradient method that a worker runs inside its window, by name from optax."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distopt.errors import ConfigError
from distopt.rules import Params
from distopt.settings import number, or_null, problem

MAKERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": optax.sgd,
    "nesterov": lambda **settings: optax.sgd(nesterov=True, **settings),
    "adam": optax.adam,
    "adamw": optax.adamw,
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
}


def build(settings: Mapping[str, Any]) -> optax.GradientTransformation:
    """Build the local optimizer that the configuration group `local` describes.

    Args:
        settings: `name`, `learning_rate`, `on_pull` (read by the worker), `clip_norm` c, with which a gradient g
            becomes g min(1, c / ‖g‖₂) before anything else (Pascanu et al. 2013, algorithm 1), `max_norm` (see
            `projected`), and the method's own settings under the names optax gives them (`momentum`, `b1`, `eps`,
            `weight_decay`, ...).

    Raises:
        ConfigError: unknown name, or settings that the method does not take.
    """
    arguments = {
        key: value for key, value in settings.items() if key not in ("name", "on_pull", "clip_norm", "max_norm")
    }
    clip, radius = settings.get("clip_norm"), settings.get("max_norm")
    for key, value in (("clip_norm", clip), ("max_norm", radius)):
        if words := problem(f"local.{key}", value, or_null(number(0, above=True))):
            raise ConfigError(words)
    try:
        method = MAKERS[settings["name"]](**arguments)
        method = method if clip is None else optax.chain(optax.clip_by_global_norm(clip), method)
        return method if radius is None else optax.chain(method, projected(radius))
    except KeyError:
        raise ConfigError(
            f"local.name={settings['name']}: no such optimizer; choose from {', '.join(MAKERS)}"
        ) from None
    except TypeError as error:
        raise ConfigError(f"local={settings['name']}: {error}") from None


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
