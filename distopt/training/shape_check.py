"""Checks before training, by tracing alone, that rules keep shapes and dtypes."""

from typing import Any

import jax

from distopt.errors import ConfigError
from distopt.files.untrusted import reason
from distopt.optimizers import factory
from distopt.training.experiment import Experiment
from distopt.training.trial import Exchange, exchange


def check(experiment: Experiment) -> None:
    """Trace one exchange, unless the optimizer is packaged: packaged rules are known to conform.

    Raises:
        ConfigError: a rule changes the shape or dtype of the center, the parameters or a state, or cannot be traced.
    """
    name = experiment.config["optimizer"]["name"]
    if factory(name).__module__.startswith("distopt."):
        return

    def trial() -> Exchange:
        params, _ = experiment.model.init(jax.random.key(0))
        return exchange(experiment.optimizer, params, experiment.workers)

    try:
        traced = jax.eval_shape(trial)
    except ConfigError:
        raise
    except Exception as error:  # rules from other packages may raise anything
        raise ConfigError(f"optimizer={name}: its rules cannot be traced ({reason(error)})") from error
    for what, kept in traced.before.items():
        if problem := difference(kept, traced.after[what]):
            raise ConfigError(f"optimizer={name}: its rules change {what}: {problem}")


def difference(expected: Any, found: Any) -> str | None:
    """Return how the leaves of a pytree differ in place, shape or dtype from what was expected; None if they do not."""
    have, want = str(jax.tree.structure(found)), str(jax.tree.structure(expected))
    if have != want:
        return f"{have} instead of {want}"
    for (path, leaf), other in zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(found), strict=True):
        if (leaf.shape, leaf.dtype) != (other.shape, other.dtype):
            where = jax.tree_util.keystr(path, simple=True, separator="/")
            return f"{where or 'it'} is {other.dtype}{other.shape} instead of {leaf.dtype}{leaf.shape}"
    return None
