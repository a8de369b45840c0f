"""The interface: a distributed optimizer is a worker rule, a server rule and a quorum, all pure functions.

A worker opens a window at its parameters θᵏ, takes λ local steps, and turns what it did into a message (`commit`). The
server folds the messages of a quorum of workers into one update of the center θ̃ (`update`). Each committer then turns
the reply into the parameters its next window starts from (`adopt`). Launchers call these functions and never ask which
algorithm they belong to. Parameters, messages, replies and states are pytrees of arrays.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import optax

from distopt.windows import Windows

Params = Any
State = Any
Message = Any
Reply = Any

ALL = 2**31 - 1
"""A quorum larger than any number of workers: every worker still training takes part in every update."""

CommitKind = Literal["delta", "gradient", "parameters", "elastic", "difference", "sums"]
"""What a message is. `delta`, `gradient`: local updates or gradients, a pytree like the parameters that the server adds
up. `parameters`: where the worker is. `elastic`: the same, and the reply is the difference E that the center has gained
with it: θ̃ ← θ̃ + Σ E. `difference`: the worker knows E itself, sends it, and loses it when it adopts the reply: what
`adopt` returns is θᵏ − E. `sums`: of gradients and losses over a portion of the data, that must not be changed.
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
    """What one update makes of the center, and what the committers are told."""

    center: Params
    state: State
    replies: Reply | None = None  # leading axis q; None: every committer adopts the new center
    metrics: Mapping[str, jax.Array] = {}  # scalars, or one value per commit, shape (q,)
    norm: jax.Array | None = None  # ‖commit‖₂ of each, shape (q,), if messages are encoded; None: of the message


def _no_state(params: Params) -> State:
    """Return the state of a rule that remembers nothing."""
    del params
    return ()


class WorkerRule(NamedTuple):
    """The worker's half: what it sends at the end of a window, and how it goes on from the reply.

    With `ends` or `eager` a window may end before its λ steps are taken. `ends` is asked after each of them, and is not
    combined with `eager`.
    """

    commit: Callable[[Window, State], tuple[Message, State]]
    adopt: Callable[[Reply, Window, State], tuple[Params, State]]
    init: Callable[[Params], State] = _no_state
    gradient: bool = False  # fill `Window.gradient`; costs one addition per step
    explore: bool = True  # False: parameters stay at θᵏ while gradients are summed
    ends: Callable[[Window, Params, State], jax.Array] | None = (
        None  # window so far, its last g → whether to commit now
    )
    eager: bool = False  # commit after every step at whose end the server is free
    correct: Callable[[Params, Params, Params], Params] | None = None  # g, θ, θᵏ → what the local method is given for g
    commits: CommitKind | None = None  # what a message is; None: it is not said, and nobody else may change messages
    conserves: bool = False  # θ̃ + Σ θᵏ changes by local steps alone: checked in every run, see `metrics.conservation`
    pull: bool = False  # fetch the center before each commit: `Window.center`; staleness counts from there
    rejoin: Callable[[Params, State], State] | None = None  # θ̃ pulled without a commit, state → state; None: as it is
    fetch: int = 1  # only every so many commits are answered; after the others a worker goes on from θᵏ
    portion: Callable[[State, jax.Array], jax.Array] | None = None  # state, worker → the portion of the data it takes

    def answered(self, sequence: int) -> bool:
        """Return whether the server answers a worker's commit number `sequence`, 1, 2, …, with a reply to adopt."""
        return sequence % self.fetch == 0


class ServerRule(NamedTuple):
    """The server's half: fold the commits of a quorum into the center."""

    init: Callable[[Params, int], State]  # θ̃₀, number of workers
    update: Callable[[Commits, State, Params], Update]
    flush: Callable[[State, Params], Params] | None = None  # θ̃ with what the rule still keeps when training is over
    skip: Callable[[State, Params], tuple[Params, State]] | None = None  # for an update of which no commit is left


def _no_warnings(workers: int, window: int) -> list[str]:
    """Return the warnings of an optimizer that has no known bounds."""
    del workers, window
    return []


class DistributedOptimizer(NamedTuple):
    """A distributed optimizer. `quorum` counts commits per update: 1 asynchronous, `ALL` a barrier, between K-of-n.

    groups: split the workers into that many groups of neighbours; an update takes the quorum of one of them.
    max_staleness: drop commits that are later than that. A dropped commit is not applied and no update; its worker
    goes on from the center as it is. Staleness is τ, or, with a `buffer`, how often the center moved in τ updates. Not
    together with groups.
    buffer: the rule moves the center with every so many updates, and keeps what it is given in between; at the end
    `ServerRule.flush` applies the rest. An update whose commits were all refused has its place among them:
    `ServerRule.skip` returns center and state after it.
    bound: a worker whose applied commits are more than that ahead of the slowest active worker's waits before it goes
    on; it then starts from the center as it has become. Who is dropped or has to wait is answered with the center: not
    together with other replies, nor with `WorkerRule.fetch` above 1.
    whole: training ends when so many workers have used up their budgets that the others are no quorum; without it they
    go on with smaller ones.
    """

    worker: WorkerRule
    server: ServerRule
    quorum: int = 1
    workers: int | None = None  # the most workers the method can use; None: any number
    local: optax.GradientTransformation | None = None  # what its workers run; None: the configured one
    warnings: Callable[[int, int], list[str]] = _no_warnings  # n, λ → which known bounds of stability are exceeded
    windows: Windows | None = None  # λ, number and speed → steps of a window; None: λ in every window
    start_after: int = 0  # updates that worker 0 makes alone; the others then start from the center as it is
    groups: int | None = None
    max_staleness: int | None = None
    buffer: int = 1
    bound: int | None = None
    whole: bool = False
    result: Callable[[State], Params] | None = None  # of the server's state, what is evaluated and kept; None: θ̃
    ensemble: bool = False  # the leaves of `result` have a leading axis: members whose predictions are averaged
    portions: int | None = None  # P portions of λ batches, fixed for all workers; None: each worker has its own shard

    @property
    def fetch(self) -> int:
        """Return how many commits of a worker there are to a reply."""
        return self.worker.fetch
