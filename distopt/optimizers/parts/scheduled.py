"""Schedules at the server, and the clock of samples, around the rules of any optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.rules import Commits, DistributedOptimizer, Message, Params, Reply, Result, State, Update, Window
from distopt.schedules import Clock, Schedule
from distopt.trees import norms
from distopt.windows import Judged


class Counted(NamedTuple):
    """State of a rule with a count."""

    rule: State
    total: jax.Array  # int32, shape ()


def moved(optimizer: DistributedOptimizer, schedule: Schedule, length: float, rate: float) -> DistributedOptimizer:
    """Return the optimizer with f(s) times the moves of its center: θ̃ ← θ̃ + f(s) (θ̃' − θ̃), s the updates so far.

    For a server that takes steps of a local method this is the schedule of the method's rate, in the form in which
    momentum sums gradients without it.

    Args:
        optimizer: whose workers adopt the center.
        schedule: f.
        length: T, in updates.
        rate: η, for the record alone: the metric `rate` is η f(s).

    Raises:
        ValueError: as the rules are traced, if replies are anything but the center.
    """
    server = optimizer.server

    def init(params: Params, workers: int) -> State:
        return Counted(server.init(params, workers), jnp.zeros((), jnp.int32))

    def update(commits: Commits, state: State, center: Params) -> Update:
        result = server.update(commits, state.rule, center)
        if result.replies is not None:
            raise ValueError("its workers adopt something else than the center, whose moves alone follow a schedule")
        now = state.total.astype(jnp.float32)
        f = schedule.factor(Clock(now, 1.0, float(length)))
        scaled = jax.tree.map(lambda new, old: old + (f * (new - old)).astype(old.dtype), result.center, center)
        told = {**result.metrics, "clock": now, "rate": rate * f}
        return result._replace(center=scaled, state=Counted(result.state, state.total + 1), metrics=told)

    return _around(optimizer, server._replace(init=init, update=update))


def counted(optimizer: DistributedOptimizer) -> DistributedOptimizer:
    """Return the optimizer whose workers know how many steps were in all commits at the center that they adopted.

    A commit carries the steps of its window, and a reply their sum so far: four bytes each. The count of a worker's
    state is that sum.

    Raises:
        ValueError: replies are always the center, so they can carry nothing.
    """
    worker, server = optimizer.worker, optimizer.server
    if not optimizer.synchrony.direct:
        raise ValueError("its server may refuse commits or hold workers back, whose replies carry no count")

    def commit(window: Window, state: State) -> tuple[Message, State]:
        message, rule = worker.commit(window, state.rule)
        return (message, window.steps), state._replace(rule=rule)

    def adopt(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
        params, rule = worker.adopt(reply[0], window, state.rule)
        return params, Counted(rule, reply[1])

    def begin(params: Params) -> State:
        return Counted(worker.init(params), jnp.zeros((), jnp.int32))

    def rejoin(params: Params, state: State) -> State:
        return state if worker.rejoin is None else state._replace(rule=worker.rejoin(params, state.rule))

    def init(params: Params, workers: int) -> State:
        return Counted(server.init(params, workers), jnp.zeros((), jnp.int32))

    def update(commits: Commits, state: State, center: Params) -> Update:
        message, steps = commits.message
        result = server.update(commits._replace(message=message), state.rule, center)
        q, total = len(steps), state.total + jnp.sum(steps)
        each = result.replies
        if each is None:
            each = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (q, *leaf.shape)), result.center)
        norm = norms(message) if result.norm is None else result.norm
        replies = (each, jnp.broadcast_to(total, (q,)))
        return result._replace(state=Counted(result.state, total), replies=replies, norm=norm)

    inside = worker.steps
    if isinstance(until := inside.until, Judged):
        inside = inside._replace(until=Judged(lambda window, g, state: until.ends(window, g, state.rule)))
    if passes := inside.passes:
        inside = inside._replace(passes=passes._replace(portion=lambda state, k: passes.portion(state.rule, k)))
    rule = worker._replace(commit=commit, adopt=adopt, init=begin, rejoin=rejoin, steps=inside)
    return _around(optimizer._replace(worker=rule), server._replace(init=init, update=update))


def _around(optimizer: DistributedOptimizer, server: Any) -> DistributedOptimizer:
    """Return the optimizer with a server whose state has the former one inside."""
    result = optimizer.result
    if result is not None:
        of = result.of
        result = Result(lambda state: of(state.rule), result.members)
    return optimizer._replace(server=server, result=result)
