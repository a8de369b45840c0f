"""Whether rules keep to the shapes they began with: found without computing anything, before anything starts."""

from typing import Any

import jax
import jax.numpy as jnp

from distopt.errors import ConfigError
from distopt.files.untrusted import reason
from distopt.optimizers import factory
from distopt.rules import Commits, Window
from distopt.training.experiment import Experiment
from distopt.training.worker import landing


def check(experiment: Experiment) -> None:
    """Trace one exchange; the packaged rules are known to conform.

    Raises:
        ConfigError: a rule changes the shape or dtype of the center, the parameters or a state, or cannot be traced.
    """
    name = experiment.config["optimizer"]["name"]
    if factory(name).__module__.startswith("distopt."):
        return
    try:
        before, after = jax.eval_shape(lambda: _exchange(experiment))
    except ConfigError:
        raise
    except Exception as error:  # of rules that are anybody's
        raise ConfigError(f"optimizer={name}: its rules cannot be traced ({reason(error)})") from error
    for what, kept in before.items():
        if problem := difference(kept, after[what]):
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


def _exchange(experiment: Experiment) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let a full quorum commit and adopt; return what must have kept its shape, before and after."""
    rules, q = experiment.optimizer, experiment.quorum
    params, _ = experiment.model.init(jax.random.key(0))
    state, server = rules.worker.init(params), rules.server.init(params, experiment.workers)
    local = rules.local.init(params) if rules.local else None
    center = params if rules.worker.pull else None
    window = Window(params, params, jnp.ones((), jnp.int32), params, local, jax.random.key(0), center, jnp.zeros(()))
    message, committed = rules.worker.commit(window, state)
    stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (q, *jnp.shape(leaf))), (message, params))
    update = rules.server.update(Commits(jnp.arange(q), jnp.zeros(q, jnp.int32), *stacked), server, params)
    reply = params if update.replies is None else jax.tree.map(lambda leaf: leaf[0], update.replies)
    adopted, landed = rules.worker.adopt(reply, landing(window), committed)
    before = {"the center": params, "the server's state": server, "the parameters": params, "the worker's state": state}
    after = {"the center": update.center, "the server's state": update.state}
    return before, after | {"the parameters": adopted, "the worker's state": landed}
