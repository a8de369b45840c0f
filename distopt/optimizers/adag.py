"""ADAG: AGN's commits, scaled by how far the center has moved since the worker pulled it.

    θ̃ ← θ̃ + s ⊙ Δθᵏ / λ,      θᵏ ← θ̃

| form | s | source |
|---|---|---|
| `weight` | 1 / ((θ̃ − pᵏ)² / γ + 1), elementwise | Hermans 2017, equations 4.7 to 4.9 as run; dist-keras |
| `norm` | 1 / (‖θ̃ − pᵏ‖² / γ + 1), one scalar | Hermans 2017, equations 4.1 and 4.7 as printed |
| `squared` | 1 / (((θ̃ − pᵏ) / γ)² + 1), elementwise | Hermans 2017, equation 4.10, not tried there |

pᵏ is the center that worker k pulled. A weight whose center did not move keeps its full step (s = 1).

| placement | what scales | sent up | source |
|---|---|---|---|
| `server` | the server, which remembers what each worker pulled | d | algorithm 12; dist-keras |
| `message` | the server; each commit also carries pᵏ | 2 d | algorithm 11 |
| `worker` | the worker, which pulls again before it commits and goes on from that center | d | algorithm 13 |

`server` and `message` give bit-identical results: the first costs n d numbers of memory at the server, the second
traffic. With `worker`, s may be out of date when the commit arrives. The next window then starts without the worker's
own commit, which later counts as movement: one worker alone is not AGN.

Source: Hermans 2017, chapter 4, algorithms 11 to 13.
Differences: the thesis writes a norm but scales per weight, as does dist-keras, whose class `Experimental` is this
method (its class `ADAG` is AGN). γ is a squared distance per weight in `weight`, a squared distance of all weights
together in `norm`, and a distance per weight in `squared`: no value suits all three. A norm per tensor, between
`weight` and `norm`, is not available.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from distopt.optimizers.agn import warnings
from distopt.optimizers.parts import additive, adopt_center, commit_mean_delta, sample, scale_metrics, stateless
from distopt.rules import (
    Commits,
    DistributedOptimizer,
    Message,
    Params,
    Reply,
    ServerRule,
    State,
    Update,
    Window,
    WorkerRule,
)
from distopt.settings import require_choice, require_number
from distopt.trees import norms

#: θ̃ − pᵏ of some weights, ‖θ̃ − pᵏ‖² of all weights, γ → s
Form = Callable[[jax.Array, jax.Array, float], jax.Array]
FORMS: dict[str, Form] = {
    "weight": lambda moved, distance, gamma: 1 / (moved**2 / gamma + 1),
    "norm": lambda moved, distance, gamma: 1 / (distance / gamma + 1),
    "squared": lambda moved, distance, gamma: 1 / ((moved / gamma) ** 2 + 1),
}


def adag(*, gamma: float, form: str = "weight", placement: str = "server") -> DistributedOptimizer:
    """Build ADAG.

    Args:
        gamma: γ > 0, the movement of the center that halves a step, in the unit of the form. Large values give AGN.
        form: `weight`, `norm` or `squared`.
        placement: `server`, `message` or `worker`.
    """
    require_number("gamma", gamma)
    scaling = Scaling(require_choice("form", form, FORMS), gamma)
    place = require_choice("placement", placement, PLACEMENTS)
    return DistributedOptimizer(*place(scaling), warnings=warnings)


class Scaling(NamedTuple):
    """The scale s, from the pulled and the present center."""

    form: Form
    gamma: float

    def __call__(self, center: Params, pulled: Params, message: Message) -> tuple[Message, dict[str, jax.Array]]:
        """Scale the commits of an update, each leaf with a leading axis q; return them and their metrics."""
        distance = _squared_norm(jax.tree.map(jnp.subtract, center, pulled))  # XLA drops it if `form` ignores it

        def scale(c: jax.Array, p: jax.Array) -> jax.Array:
            return self.form(c - p, distance.reshape(-1, *[1] * (p.ndim - 1)), self.gamma)

        sampled = scale(sample(_stacked(center)), sample(pulled))
        return jax.tree.map(lambda c, p, m: scale(c, p) * m, center, pulled, message), scale_metrics(sampled)


def at_server(scaling: Scaling, carried: bool = False) -> tuple[WorkerRule, ServerRule]:
    """Scale at the server, by the pulled center that it remembers or that the commit carries."""

    def commit(window: Window, state: State) -> tuple[Message, State]:
        delta, state = commit_mean_delta(window, state)
        return ((delta, window.start) if carried else delta), state

    def update(commits: Commits, state: State, center: Params) -> Update:
        message, pulled = commits.message if carried else (commits.message, commits.pulled)
        steps, metrics = scaling(center, pulled, message)
        center = jax.tree.map(lambda c, s: c + jnp.sum(s, axis=0), center, steps)
        return Update(center, state, metrics=metrics, norm=norms(message))

    return WorkerRule(commit, adopt_center, sends=None if carried else "delta"), ServerRule(stateless, update)


def at_worker(scaling: Scaling) -> tuple[WorkerRule, ServerRule]:
    """Scale at the worker, by the center that it pulls before it commits."""

    def commit(window: Window, state: State) -> tuple[Message, State]:
        delta, state = commit_mean_delta(window, state)
        scaled, _ = scaling(window.center, _stacked(window.start), _stacked(delta))
        return jax.tree.map(lambda leaf: leaf[0], scaled), state

    def adopt(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
        del reply
        return window.center, state

    return WorkerRule(commit, adopt, sends="delta", pull=True), additive(replies=())


PLACEMENTS: dict[str, Callable[[Scaling], tuple[WorkerRule, ServerRule]]] = {
    "server": at_server,
    "message": partial(at_server, carried=True),
    "worker": at_worker,
}


def _stacked(tree: Params) -> Params:
    """Return a tree with a leading axis of 1, as the only commit of an update."""
    return jax.tree.map(lambda leaf: leaf[None], tree)


def _squared_norm(tree: Params) -> jax.Array:
    """Return ‖·‖² over all leaves for each entry of the leading axis, shape (q,)."""
    squares = [jnp.sum(leaf.reshape(leaf.shape[0], -1) ** 2, axis=1) for leaf in jax.tree.leaves(tree)]
    return jnp.sum(jnp.stack(squares), axis=0)
