"""The interface: a distributed optimizer is a worker rule, a server rule and a synchrony.

A worker opens a window at its parameters θᵏ, takes λ local steps, and turns what it did into a message (`commit`). The
server folds the messages of a quorum of workers into one update of the center θ̃ (`update`). Each committer then turns
the reply into the parameters its next window starts from (`adopt`). Launchers call these functions and never ask which
algorithm they belong to. Rules are pure functions; parameters, messages, replies and states are pytrees of arrays.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import optax

from distopt.synchrony import ALL, ASYNCHRONOUS, BARRIER, Synchrony
from distopt.windows import Judged, Planned, Until, WhenFree

__all__ = [
    "ALL",
    "ASYNCHRONOUS",
    "BARRIER",
    "CommitKind",
    "Commits",
    "DistributedOptimizer",
    "Judged",
    "Message",
    "Params",
    "Pass",
    "Planned",
    "Reply",
    "Result",
    "ServerRule",
    "State",
    "Steps",
    "Synchrony",
    "Until",
    "Update",
    "WhenFree",
    "Window",
    "WorkerRule",
]

Params = Any
State = Any
Message = Any
Reply = Any

CommitKind = Literal["delta", "gradient", "parameters", "elastic", "difference", "sums", "encoded", "encoded elastic"]
"""What a message is.

| kind | message |
|---|---|
| `delta`, `gradient` | local updates or gradients, a pytree like the parameters that the server adds up |
| `parameters` | where the worker is |
| `elastic` | where the worker is; the reply is E, which the center gains, θ̃ ← θ̃ + Σ E, and the worker loses |
| `difference` | E itself, which the worker loses when it adopts the reply: `adopt` returns θᵏ − E |
| `sums` | sums of gradients and losses over a portion of the data, which must not be changed |
| `encoded` | a compressed delta or gradient, which must not be changed |
| `encoded elastic` | a compressed exchange of the kind `elastic` or `difference`, which must not be changed |
"""


class Window(NamedTuple):
    """What a worker did since it last adopted a reply."""

    start: Params  # θᵏ when the window opened
    end: Params  # θᵏ now
    steps: jax.Array  # λ, local steps really taken; int32, shape ()
    gradient: Params | None = None  # Σ of the window's mini-batch gradients, if the worker rule asks for it
    local: Any = None  # θᵏ's state of the local method, if the optimizer prescribes that method
    key: Any = None  # for random numbers in `commit`; a function of (seed, worker, step)
    center: Params | None = None  # θ̃ fetched after the last step, if the worker rule pulls before it commits
    loss: Any = None  # Σ of the window's mini-batch losses, each before its step; shape ()


class Commits(NamedTuple):
    """The q commits of one update, ordered by worker."""

    worker: jax.Array  # int32, shape (q,)
    staleness: jax.Array  # τ, updates applied since each worker's last pull; int32, shape (q,)
    message: Message  # every leaf has a leading axis q
    pulled: Params  # the center each worker pulled last; every leaf has a leading axis q


class Update(NamedTuple):
    """The result of one update: the new center and state, and the replies to the committers."""

    center: Params
    state: State
    replies: Reply | None = None  # leading axis q; None: every committer adopts the new center
    metrics: Mapping[str, jax.Array] = {}  # scalars, or one value per commit, shape (q,)
    norm: jax.Array | None = None  # ‖commit‖₂ of each, shape (q,), if messages are encoded; None: of the message


def _no_state(params: Params) -> State:
    """Return the state of a rule that remembers nothing."""
    del params
    return ()


class Pass(NamedTuple):
    """A pass over the data in P fixed portions of λ batches; a worker trains on the portion that its state names."""

    portions: int  # P, the same for all workers
    portion: Callable[[State, jax.Array], jax.Array]  # state of the worker rule, worker → the portion it takes


class Steps(NamedTuple):
    """What a worker does inside its window."""

    takes: Literal["local", "gradients", "both"] = "local"
    """`local`: steps of the local method. `gradients`: none, θᵏ stays; gradients are summed into `Window.gradient`.
    `both`: steps, and the sum of the gradients along them."""
    until: Until = None  # when the window ends; None: after λ steps
    correct: Callable[[Params, Params, Params], Params] | None = None  # g, θ, θᵏ → what the local method gets for g
    passes: Pass | None = None  # None: each worker draws from its own shard


class WorkerRule(NamedTuple):
    """The worker's half: what it sends at the end of a window, and how it goes on from the reply."""

    commit: Callable[[Window, State], tuple[Message, State]]
    adopt: Callable[[Reply, Window, State], tuple[Params, State]]
    init: Callable[[Params], State] = _no_state
    sends: CommitKind | None = None  # what a message is; None: unknown, so nothing else may change messages
    steps: Steps = Steps()
    pull: bool = False  # fetch the center before each commit: `Window.center`; staleness counts from there
    rejoin: Callable[[Params, State], State] | None = None  # θ̃ pulled without a commit, state → state; None: unchanged

    @property
    def conserves(self) -> bool:
        """Whether θ̃ + Σ θᵏ changes by local steps alone: checked in every run, see `metrics.conservation`."""
        return self.sends in ("elastic", "difference", "encoded elastic")


class ServerRule(NamedTuple):
    """The server's half: fold the commits of a quorum into the center.

    An update whose messages are all zero counts as an update. It moves the center only by what the rule has kept from
    earlier ones. The server uses such updates to keep the place of refused commits within a `period`, and to apply the
    rest of a `period` at the end.
    """

    init: Callable[[Params, int], State]  # θ̃₀, number of workers
    update: Callable[[Commits, State, Params], Update]


class Result(NamedTuple):
    """What is evaluated and kept instead of the center."""

    of: Callable[[State], Params]  # from the state of the server rule
    members: bool = False  # every leaf has a leading axis: members of an ensemble whose predictions are averaged


def _no_warnings(workers: int, window: int) -> list[str]:
    """Return the warnings of an optimizer that has no known bounds."""
    del workers, window
    return []


class DistributedOptimizer(NamedTuple):
    """A distributed optimizer: who computes what, and when commits make an update.

    If the synchrony may drop commits or hold workers back (not `Synchrony.direct`), every reply is the center:
    `Update.replies` is None.
    """

    worker: WorkerRule
    server: ServerRule
    synchrony: Synchrony = ASYNCHRONOUS
    local: optax.GradientTransformation | None = None  # what its workers run; None: the configured one
    workers: int | None = None  # the most workers the method can use; None: any number
    warnings: Callable[[int, int], list[str]] = _no_warnings  # n, λ → which known bounds of stability are exceeded
    result: Result | None = None  # None: the center is evaluated and kept

    @property
    def pulls_apart(self) -> bool:
        """Whether workers may pull the center at another moment than with the reply to a commit."""
        return self.worker.pull or self.synchrony.bound is not None
