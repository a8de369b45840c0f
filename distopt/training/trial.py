"""One exchange for tracing: what rules send, answer and adopt, from which shapes and types are inferred."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.rules import Commits, DistributedOptimizer, Message, Params, Reply, State, Window


class Exchange(NamedTuple):
    """One exchange of a full quorum: message and reply, and center, parameters and states before and after it."""

    message: Message
    reply: Reply
    before: dict[str, Any]  # `the center`, `the server's state`, `the parameters`, `the worker's state`
    after: dict[str, Any]  # the same


def trial_window(optimizer: DistributedOptimizer, params: Params) -> Window:
    """Return a window of one step that ended where it began, with every field that a worker rule may read."""
    local = optimizer.local.init(params) if optimizer.local else None
    center = params if optimizer.worker.pull else None
    return Window(params, params, jnp.ones((), jnp.int32), params, local, jax.random.key(0), center, jnp.zeros(()))


def landing(window: Window) -> Window:
    """Return a window with only the fields that `adopt` may read."""
    return window._replace(gradient=None, local=None, key=None, loss=None)


def trial_commit(optimizer: DistributedOptimizer, params: Params) -> tuple[Message, State]:
    """Return the first commit of a worker that has not moved, and its state after it."""
    return optimizer.worker.commit(trial_window(optimizer, params), optimizer.worker.init(params))


def exchange(optimizer: DistributedOptimizer, params: Params, workers: int) -> Exchange:
    """Let a full quorum commit and adopt, all from the same parameters; only for tracing, because it makes q copies.

    Args:
        optimizer: the rules.
        params: θ̃₀.
        workers: n.
    """
    worker, server, q = optimizer.worker, optimizer.server, optimizer.synchrony.quorums(workers)[-1]
    message, committed = trial_commit(optimizer, params)
    stacked = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (q, *jnp.shape(leaf))), (message, params))
    state = server.init(params, workers)
    update = server.update(Commits(jnp.arange(q), jnp.zeros(q, jnp.int32), *stacked), state, params)
    reply = params if update.replies is None else jax.tree.map(lambda leaf: leaf[0], update.replies)
    adopted, landed = worker.adopt(reply, landing(trial_window(optimizer, params)), committed)
    names = "the center", "the server's state", "the parameters", "the worker's state"
    before, after = (params, state, params, worker.init(params)), (update.center, update.state, adopted, landed)
    return Exchange(message, reply, dict(zip(names, before, strict=True)), dict(zip(names, after, strict=True)))
