"""What travels between workers and server: shapes and bytes, found by tracing one exchange."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.rules import Commits, DistributedOptimizer, Message, Params, Reply, State, Window
from distopt.synchrony import Synchrony
from distopt.training.experiment import Experiment
from distopt.trees import tree_bytes


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


class Shapes(NamedTuple):
    """What travels, as trees of `jax.ShapeDtypeStruct`, found without touching a device."""

    params: Params
    message: Message
    reply: Reply
    center: Params | tuple[()]  # what workers fetch before a commit; () if they do not


def shapes(experiment: Experiment) -> Shapes:
    """Return the shapes of parameters, commits and replies of an experiment."""
    rules = experiment.optimizer
    params, _ = jax.eval_shape(lambda: experiment.model.init(jax.random.key(0)))
    traced = jax.eval_shape(lambda p: exchange(rules, p, experiment.workers), params)
    return Shapes(params, traced.message, traced.reply, params if rules.worker.pull else ())


class Traffic(NamedTuple):
    """Bytes of what travels between a worker and the server."""

    up: int  # a commit
    reply: int
    center: int  # fetched before a commit; 0 if workers do not pull
    synchrony: Synchrony

    def down(self, sequence: int) -> int:
        """Return what the server sends for a worker's commit number `sequence`: the center before it, and its reply."""
        return self.center + (self.reply if self.synchrony.answered(sequence) else 0)


def traffic(layout: Shapes, synchrony: Synchrony) -> Traffic:
    """Return the bytes of messages with these shapes."""
    return Traffic(tree_bytes(layout.message), tree_bytes(layout.reply), tree_bytes(layout.center), synchrony)
