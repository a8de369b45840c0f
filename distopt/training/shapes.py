"""What travels between workers and server: shapes and bytes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.rules import Commits, Message, Params, Reply, Window, WorkerRule
from distopt.training.experiment import Experiment
from distopt.trees import tree_bytes


class Shapes(NamedTuple):
    """What travels, as trees of `jax.ShapeDtypeStruct`; known without touching a device."""

    params: Params
    message: Message
    reply: Reply
    center: Params | tuple[()]  # what workers fetch before a commit; () if they do not


def shapes(experiment: Experiment) -> Shapes:
    """Return the shapes of parameters, commits and replies of an experiment."""
    rules, n, q = experiment.optimizer, experiment.workers, experiment.quorum
    params, _ = jax.eval_shape(lambda: experiment.model.init(jax.random.key(0)))

    def commit(p: Params) -> Message:
        local = rules.local.init(p) if rules.local else None
        center = p if rules.worker.pull else None
        window = Window(p, p, jnp.ones((), jnp.int32), p, local, jax.random.key(0), center, jnp.zeros(()))
        return rules.worker.commit(window, rules.worker.init(p))[0]

    def reply(p: Params) -> Reply | None:
        message, pulled = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (q, *leaf.shape)), (commit(p), p))
        commits = Commits(jnp.arange(q), jnp.zeros(q, jnp.int32), message, pulled)
        replies = rules.server.update(commits, rules.server.init(p, n), p).replies
        return p if replies is None else jax.tree.map(lambda leaf: leaf[0], replies)

    center = params if rules.worker.pull else ()
    return Shapes(params, jax.eval_shape(commit, params), jax.eval_shape(reply, params), center)


class Traffic(NamedTuple):
    """Bytes of what travels between a worker and the server."""

    up: int  # a commit
    reply: int
    center: int  # fetched before a commit; 0 if workers do not pull
    rule: WorkerRule

    def down(self, sequence: int) -> int:
        """Return what the server sends for a worker's commit number `sequence`: the center before it, and its reply."""
        return self.center + (self.reply if self.rule.answered(sequence) else 0)


def traffic(layout: Shapes, rule: WorkerRule) -> Traffic:
    """Return the bytes of messages with these shapes."""
    return Traffic(tree_bytes(layout.message), tree_bytes(layout.reply), tree_bytes(layout.center), rule)
