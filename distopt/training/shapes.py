"""What travels between workers and server: shapes and bytes, found by tracing one exchange."""

from typing import NamedTuple

import jax

from distopt.rules import Message, Params, Reply
from distopt.synchrony import Synchrony
from distopt.training.experiment import Experiment
from distopt.training.trial import exchange
from distopt.trees import tree_bytes


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
