"""Sandblaster L-BFGS: a batch method whose gradients free workers compute in small portions.

    f(x) = (1/P) Σₚ fₚ(x),   g = ∇f(x)      over P portions of λ mini-batches each
    x ← x + α d,   d = −H g      H from the last m pairs of s = Δx and y = Δg;   α by a line search (strong Wolfe)

The center is the trial point x + α d. Workers compute gradients there, without moving, and commit sums of gradients and
losses; the server is the coordinator. It replies with the center and the next portion of the pass. Near the end of a
pass it gives out copies of unfinished portions, so that a slow or lost worker holds up no other. Late copies do not
count (column `duplicate`). When all portions are in, the coordinator accepts the trial as its new point and computes a
new direction, or tries another step. The last accepted point is evaluated and saved, not the trial.

A portion is a part of the training set, the same for all workers and passes; `dataset.partition` only decides how the
budget of steps is divided. H is from `optax.scale_by_lbfgs`, which has the two-loop recursion and the scaling of H₀.
`optax.lbfgs` as a whole does not fit: its line search calls the function, while here an evaluation is a pass of the
workers. A pair with s·y ≤ 1e-10 ‖y‖² is not used, and the method restarts with the steepest descent. It also restarts
after `trials` steps without success, which happens where single precision shows no more progress.

Source: J. Dean et al., "Large Scale Distributed Deep Networks", 2012, section 4.2 and algorithm 1.2 of its appendix.
Differences: in the paper a worker fetches the parameters once per pass, adds up gradients locally and sends them now
and then, and the servers hold the history in shards; here each portion is an exchange of gradients and parameters. The
paper does not say which line search it uses. A trial whose loss is not finite ends the run as diverged. Dropout and
other noise change f from pass to pass, which breaks both H and the line search: distopt warns about `model.dropout` and
`model.noise`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distopt.optimizers.parts.line_search import Search
from distopt.optimizers.parts.portions import Board, Task
from distopt.rules import (
    Commits,
    DistributedOptimizer,
    Params,
    Pass,
    Reply,
    Result,
    ServerRule,
    Steps,
    Update,
    Window,
    WorkerRule,
)
from distopt.settings import require_number, require_whole
from distopt.trees import norms

LEAST_CURVATURE = 1e-10


class Sums(NamedTuple):
    """Sums over portions of a pass."""

    gradient: Params
    loss: jax.Array  # shape ()
    batches: jax.Array  # int32, shape ()


class Commit(NamedTuple):
    """A message: a worker's task and its result."""

    task: Task
    sums: Sums


class Answer(NamedTuple):
    """A reply: the trial point and the worker's next task."""

    center: Params
    task: Task


class Coordinator(NamedTuple):
    """State of the server."""

    board: Board
    sums: Sums  # of the finished portions of this pass
    memory: Any  # of L-BFGS; its `params` and `updates` are x and g of the last accepted point
    direction: Params  # d
    search: Search


def sandblaster(
    *, portions: int, memory: int, sufficient_decrease: float, curvature: float, trials: int
) -> DistributedOptimizer:
    """Build Sandblaster L-BFGS.

    Args:
        portions: P ≥ 1, parts of a pass over the data; choose more than workers, so that fast workers can take more.
        memory: m ≥ 1, number of pairs (s, y) that H is built from.
        sufficient_decrease: c₁ of the line search, in (0, c₂).
        curvature: c₂ of the line search, in (0, 1).
        trials: the most steps that a line search tries, ≥ 1.
    """
    for name, value in {"portions": portions, "memory": memory, "trials": trials}.items():
        require_whole(name, value)
    require_number("curvature", curvature, most=1, below=True)
    require_number("sufficient_decrease", sufficient_decrease, most=curvature, below=True)
    coordinate = _coordinate(optax.scale_by_lbfgs(memory), sufficient_decrease, curvature, trials)

    def init(center: Params, workers: int) -> Coordinator:
        pairs = optax.scale_by_lbfgs(memory).init(center)._replace(params=center)
        direction = jax.tree.map(jnp.zeros_like, center)
        return Coordinator(Board.begin(portions, workers), _nothing(center), pairs, direction, Search.anywhere())

    def update(commits: Commits, state: Coordinator, center: Params) -> Update:
        commit: Commit = jax.tree.map(lambda leaf: leaf[0], commits.message)
        board, counts = state.board.tick(commit.task, commits.worker[0])
        sums = jax.tree.map(lambda total, part: jnp.where(counts, total + part, total), state.sums, commit.sums)
        state = state._replace(board=board, sums=sums)
        center, state = jax.lax.cond(
            jnp.all(board.done), coordinate, lambda center, state: (center, state), center, state
        )
        board, task = state.board.give()
        replies = jax.tree.map(lambda leaf: leaf[None], Answer(center, task))
        told = {"duplicate": ~counts, "pass": commit.task.round, "step_size": state.search.step}
        metrics = {name: value.astype(jnp.float32) for name, value in told.items()}
        return Update(center, state._replace(board=board), replies, metrics, norms(commits.message.sums.gradient))

    worker = WorkerRule(
        lambda window, task: (Commit(task, Sums(window.gradient, window.loss, window.steps)), task),
        _adopt,
        lambda params: Task.first(),
        sends="sums",
        steps=Steps("gradients", passes=Pass(portions, lambda task, worker: task.of(worker, portions))),
    )
    return DistributedOptimizer(
        worker,
        ServerRule(init, update),
        local=optax.identity(),
        warnings=_warnings(portions),
        result=Result(lambda state: state.memory.params),
    )


def _adopt(reply: Reply, window: Window, task: Task) -> tuple[Params, Task]:
    """Go to the trial point and take the task from the reply."""
    del window, task
    return reply.center, reply.task


def _nothing(center: Params) -> Sums:
    """Return the sums before the first portion."""
    return Sums(jax.tree.map(jnp.zeros_like, center), jnp.zeros(()), jnp.zeros((), jnp.int32))


def _coordinate(
    tx: optax.GradientTransformation, c1: float, c2: float, trials: int
) -> Callable[[Params, Coordinator], tuple[Params, Coordinator]]:
    """Return the coordinator's step at the end of a pass, from trial point and state to the next trial and state."""

    def coordinate(trial: Params, state: Coordinator) -> tuple[Params, Coordinator]:
        gradient = jax.tree.map(lambda g: g / state.sums.batches, state.sums.gradient)
        value, slope = state.sums.loss / state.sums.batches, optax.tree.vdot(gradient, state.direction)
        ends = state.search.ends(value, slope, c1, c2)

        def turn() -> tuple[Any, Params, Search]:
            found = (trial, gradient, value), (state.memory.params, state.memory.updates, state.search.value)
            x, g, fx = jax.tree.map(lambda new, old: jnp.where(ends, new, old), *found)
            step, memory = tx.update(g, _usable(state.memory, x, g), x)
            direction = jax.tree.map(jnp.negative, step)
            return memory, direction, Search.begin(fx, optax.tree.vdot(g, direction))

        def stay() -> tuple[Any, Params, Search]:
            return state.memory, state.direction, state.search.next(value, slope, c1)

        memory, direction, search = jax.lax.cond(ends | (state.search.trials >= trials), turn, stay)
        center = jax.tree.map(lambda x, d: x + search.step * d, memory.params, direction)
        return center, Coordinator(state.board.again(), _nothing(center), memory, direction, search)

    return coordinate


def _usable(memory: Any, x: Params, g: Params) -> Any:
    """Return the memory unchanged, or without its pairs if the pair that x and g would add has no curvature."""
    s, y = (jax.tree.map(jnp.subtract, *pair) for pair in ((x, memory.params), (g, memory.updates)))
    curved = optax.tree.vdot(s, y) > LEAST_CURVATURE * optax.tree.vdot(y, y)
    return memory._replace(
        count=jnp.where(curved, memory.count, 0), weights_memory=jnp.where(curved, memory.weights_memory, 0)
    )


def _warnings(portions: int) -> Callable[[int, int], list[str]]:
    """Return a check of the number of portions against the number of workers."""

    def check(workers: int, window: int) -> list[str]:
        del window
        if workers <= portions:
            return []
        return [f"portions={portions} keep {portions} of {workers} workers busy: the others compute copies"]

    return check
