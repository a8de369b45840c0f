"""The local optimizers: the gradient method that a worker runs inside its window, by name from optax."""

from collections.abc import Callable, Mapping
from typing import Any

import optax

from distopt.errors import ConfigError

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
        settings: `name`, `learning_rate`, `on_pull` (read by the worker), and the method's own settings under the
            names optax gives them (`momentum`, `b1`, `eps`, `weight_decay`, `initial_accumulator_value`, ...).

    Raises:
        ConfigError: unknown name, or settings that the method does not take.
    """
    arguments = {key: value for key, value in settings.items() if key not in ("name", "on_pull")}
    try:
        return MAKERS[settings["name"]](**arguments)
    except KeyError:
        raise ConfigError(
            f"local.name={settings['name']}: no such optimizer; choose from {', '.join(MAKERS)}"
        ) from None
    except TypeError as error:
        raise ConfigError(f"local={settings['name']}: {error}") from None
