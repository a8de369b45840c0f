"""The local optimizers: the gradient method that a worker runs inside its window, by name from optax."""

from collections.abc import Callable, Mapping
from typing import Any

import optax

from distopt.errors import ConfigError
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
            becomes g min(1, c / ‖g‖₂) before anything else (Pascanu et al. 2013, algorithm 1), and the method's own
            settings under the names optax gives them (`momentum`, `b1`, `eps`, `weight_decay`, ...).

    Raises:
        ConfigError: unknown name, or settings that the method does not take.
    """
    arguments = {key: value for key, value in settings.items() if key not in ("name", "on_pull", "clip_norm")}
    clip = settings.get("clip_norm")
    if words := problem("local.clip_norm", clip, or_null(number(0, above=True))):
        raise ConfigError(words)
    try:
        method = MAKERS[settings["name"]](**arguments)
        return method if clip is None else optax.chain(optax.clip_by_global_norm(clip), method)
    except KeyError:
        raise ConfigError(
            f"local.name={settings['name']}: no such optimizer; choose from {', '.join(MAKERS)}"
        ) from None
    except TypeError as error:
        raise ConfigError(f"local={settings['name']}: {error}") from None
