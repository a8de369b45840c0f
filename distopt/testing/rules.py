"""Checks what every single rule promises, by calling worker and server rules directly, plainly and compiled."""

from collections.abc import Callable, Sequence
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from distopt.rules import CommitKind, Commits, DistributedOptimizer, Params, State, Update, Window
from distopt.training.trial import trial_commit
from distopt.training.update import idle
from distopt.trees import is_key

WORKERS = 3
WINDOW = 4


def check_rules(optimizer: DistributedOptimizer) -> None:
    """Check rules in a few exchanges in round robin; in the first one no worker has moved.

    Raises:
        AssertionError: a rule is not pure, cannot be compiled once for all updates, changes shapes or dtypes, or moves
            the center by itself.
    """
    kinds = (None, *get_args(CommitKind))
    assert optimizer.worker.sends in kinds, f"sends={optimizer.worker.sends!r} must be one of {kinds}"
    problems = optimizer.synchrony.problems()
    assert not problems, "; ".join(problems)
    examined = _Rules(optimizer)
    start, q = examined.center, examined.quorum
    examined.exchange(0, range(q), step=0.0)
    if optimizer.synchrony.period > 1:
        _check_zeros(optimizer, start, examined.workers)
    pairs = zip(jax.tree.leaves(start), jax.tree.leaves(examined.center), strict=True)
    moved = max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)
    assert moved < 1e-6, f"windows that end where they started moved the center by {moved:.3g} at staleness 0"
    for version in range(1, 5):
        examined.exchange(version, sorted((version * q + j) % examined.workers for j in range(q)), step=0.1)


def _check_zeros(optimizer: DistributedOptimizer, center: Params, workers: int) -> None:
    """Check that updates whose messages are all zero keep the center: refused commits count as such updates."""
    period, state = optimizer.synchrony.period, optimizer.server.init(center, workers)
    message, _ = jax.eval_shape(lambda center: trial_commit(optimizer, center), center)
    moved, _ = idle(optimizer, center, state, message, period, optimizer.synchrony.quorums(workers)[-1])
    _agree(f"update: with period={period} an update of messages of zeros must add nothing to the center", center, moved)


class _Rules:
    """The rules of an optimizer with their states and messages; every call is checked."""

    def __init__(self, optimizer: DistributedOptimizer) -> None:
        self.workers = min(WORKERS, optimizer.workers or WORKERS)
        self.quorum = min(optimizer.synchrony.quorum, self.workers)
        self.commit = _Rule("commit", optimizer.worker.commit)
        self.adopt = _Rule("adopt", optimizer.worker.adopt)
        self.update = _Rule("update", optimizer.server.update)
        self.center: Params = {"w": jnp.array([[1.0, 2.0, 3.0]], jnp.float32), "b": jnp.float32(-1.0)}
        self.server: State = optimizer.server.init(self.center, self.workers)
        self.local = optimizer.local
        self.kind = optimizer.worker.sends
        self.direct = optimizer.synchrony.direct
        self.positions = [(self.center, optimizer.worker.init(self.center))] * self.workers
        self.pulled = [(0, self.center)] * self.workers
        self.message: Any = None
        self.pull = optimizer.worker.pull
        self.fetched = (0, self.center)  # version and center of workers that pull before they commit: not the latest

    def exchange(self, version: int, workers: Sequence[int], step: float) -> None:
        """Let workers move by `step` times a random direction, commit, and adopt the reply."""
        windows, states, messages = [], [], []
        for worker in workers:
            start, state = self.positions[worker]
            if self.pull:
                self.pulled[worker] = self.fetched
            windows.append(self._window(start, step, seed=[version, worker]))
            message, after = self.commit(windows[-1], state)
            self.message = message if self.message is None else self.message
            _keeps("commit: the message", self.message, message)
            _keeps("commit: the worker's state", state, after)
            if self.kind in ("delta", "gradient", "difference"):
                _keeps(f"commit: a message of the kind {self.kind}, like the parameters,", start, message)
            states.append(after)
            messages.append(message)
        staleness = jnp.array([version - self.pulled[worker][0] for worker in workers], jnp.int32)
        pulled = _stack([self.pulled[worker][1] for worker in workers])
        self.fetched = (version, self.center)
        replies = self._fold(Commits(jnp.array(workers, jnp.int32), staleness, _stack(messages), pulled))
        for i, worker in enumerate(workers):
            reply = self.center if replies is None else jax.tree.map(lambda leaf, i=i: leaf[i], replies)
            params, state = self.adopt(
                reply, windows[i]._replace(gradient=None, local=None, key=None, loss=None), states[i]
            )
            _keeps("adopt: the parameters", self.center, params)
            _keeps("adopt: the worker's state", states[i], state)
            if self.kind == "difference":
                _agree(
                    "adopt: a worker must lose the difference that it sends",
                    jax.tree.map(jnp.subtract, windows[i].end, messages[i]),
                    params,
                )
            self.positions[worker] = (params, state)
            self.pulled[worker] = (version + 1, self.center)

    def _window(self, start: Params, step: float, seed: list[int]) -> Window:
        """Return a window that moved by `step` times a random direction, the negative of its gradients."""
        rng = np.random.default_rng(seed)
        gradient = jax.tree.map(lambda leaf: jnp.asarray(step * rng.normal(size=leaf.shape), leaf.dtype), start)
        end = jax.tree.map(jnp.subtract, start, gradient)
        local = self.local.init(start) if self.local else None
        key = jax.random.key(seed[0] * WORKERS + seed[1])
        center = self.fetched[1] if self.pull else None
        return Window(start, end, jnp.array(WINDOW, jnp.int32), gradient, local, key, center, jnp.float32(step))

    def _fold(self, commits: Commits) -> Any:
        """Apply an update and return its replies."""
        q = len(commits.worker)
        update = self.update(commits, self.server, self.center)
        assert isinstance(update, Update), f"update: returns {type(update)}, no distopt.rules.Update"
        _keeps("update: the center", self.center, update.center)
        _keeps("update: the server's state", self.server, update.state)
        assert self.direct or update.replies is None, (
            "update: who is dropped (max_staleness) or has to wait (bound) goes on from the center; it takes no replies"
        )
        for reply in jax.tree.leaves(update.replies):
            assert jnp.shape(reply)[:1] == (q,), (
                f"update: replies of shape {jnp.shape(reply)} need a leading axis of {q}"
            )
        for name, value in update.metrics.items():
            assert jnp.shape(value) in ((), (q,)), (
                f"update: metric {name} has shape {jnp.shape(value)}, not () or ({q},)"
            )
        if self.kind == "elastic":
            gained = jax.tree.map(lambda c, e: c + jnp.sum(e, axis=0), self.center, update.replies)
            _agree("update: the center of an elastic rule must gain the sum of its replies", gained, update.center)
        self.center, self.server = update.center, update.state
        return update.replies


class _Rule:
    """One rule under examination: called twice as it is and once compiled, which must all agree."""

    def __init__(self, name: str, rule: Callable[..., Any]) -> None:
        self.name = name
        self.rule = rule
        self.traces = 0
        self.compiled = jax.jit(self._trace)

    def _trace(self, *arguments: Any) -> Any:
        self.traces += 1
        return self.rule(*arguments)

    def __call__(self, *arguments: Any) -> Any:
        """Return what the compiled rule returns, as launchers do."""
        before = jax.tree.map(_bits, arguments)
        result = self.rule(*arguments)
        assert same(before, arguments), f"{self.name}: changes its inputs; rules are pure functions"
        assert same(result, self.rule(*arguments)), (
            f"{self.name}: gives another result when called again; rules are pure"
        )
        try:
            compiled = self.compiled(*arguments)
        except (jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
            raise AssertionError(f"{self.name}: cannot be compiled by jax.jit ({error})") from error
        _keeps(f"{self.name} when compiled: the result", result, compiled)
        _agree(f"{self.name}: gives another result when compiled", result, compiled)
        assert self.traces == 1, (
            f"{self.name}: is compiled again in a later update; outputs must keep the shapes, dtypes and weak types of "
            "inputs: make initial states with jnp.zeros and the like, not from Python numbers"
        )
        return compiled


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _keeps(what: str, before: Any, after: Any) -> None:
    was, now = (
        jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.result_type(a)), t) for t in (before, after)
    )
    assert was == now, f"{what} must keep its structure, shapes and dtypes: {was} became {now}"


def _agree(what: str, a: Any, b: Any) -> None:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    assert all(np.allclose(x, y, 1e-5, 1e-6) for x, y in leaves), what


def same(a: Any, b: Any) -> bool:
    """Return whether two pytrees hold the same bits in the same structure."""
    (a, structure), (b, other) = jax.tree.flatten(a), jax.tree.flatten(b)
    equal = (np.array_equal(_bits(x), _bits(y), equal_nan=True) for x, y in zip(a, b, strict=False))
    return str(structure) == str(other) and all(equal)


def _bits(leaf: Any) -> np.ndarray:
    """Return a copy of a leaf on the host; for a random key, of its key data."""
    return np.array(jax.random.key_data(leaf) if isinstance(leaf, jax.Array) and is_key(leaf) else leaf)
