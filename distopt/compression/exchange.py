"""An exchange with compressed messages, around the rules of any optimizer that sets `WorkerRule.sends`.

The worker encodes deltas and gradients, with error feedback:

    z = D + e,   send C(z),   y = C⁻¹(C(z)),   e ← z − y,      the server folds y as if it were D

The next commit contains what this one leaves out: Σ y + e = Σ D at any time. Without error feedback z = D. A worker
does not know whether the server drops a commit as late: y is then lost, but e still arrives with the next commit.

The server encodes elastic differences, because only it knows E = α (θᵏ − θ̃) at the moment of an exchange:

    send θᵏ,   reply C(E),   y = C⁻¹(C(E)),   θ̃ ← θ̃ + Σ y,   θᵏ ← θᵏ − y

Both sides apply the same y, so that θ̃ + Σ θᵏ changes only by gradients, as without compression. No memory is needed:
what y leaves out stays in θᵏ − θ̃.

A worker that computes the difference itself (`difference`) encodes it, subtracts y and also keeps the rest in θᵏ.

Source: S. P. Karimireddy et al., "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", 2019
(arXiv:1901.09847), algorithm 2.
Differences: D is the commit of the rule, a sum or mean of a window's updates or gradients; for plain SGD and a window
of 1 it is the paper's ηg. e is lost at the end of training, and with a worker that fails in virtual time
(`cluster.failures`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.compression.rules import Compressor, Memory
from distopt.rules import (
    Commits,
    DistributedOptimizer,
    Judged,
    Message,
    Params,
    Reply,
    ServerRule,
    State,
    Update,
    Window,
    WorkerRule,
)
from distopt.trees import norms

REFUSED = {
    None: "what its workers send is none of the kinds that can be encoded, or it does not say which; the author of an "
    "optimizer sets `WorkerRule.sends`",
    "encoded": "its commits are compressed already",
    "encoded elastic": "its exchanges are compressed already",
    "sums": "its line search needs exact sums of gradients and losses",
    "parameters": "its workers send parameters, and of those nothing may be left out; choose an optimizer that sends "
    "updates (diloco with learning_rate=1 and momentum=0 is model averaging by updates)",
}
UNDONE = (
    "compression.error_feedback=true with an optimizer that drops late commits: what a dropped commit left out arrives "
    "with the next one all the same, and what it sent is lost; with compression.error_feedback=false a commit is "
    "dropped as a whole (qsgd, and bf16 with rounding=stochastic, are unbiased without)"
)


class Sender(NamedTuple):
    """State of a worker that sends compressed commits."""

    rule: State
    memory: Memory
    error: Params  # e, or the rest of a difference; () without either


def compressed(optimizer: DistributedOptimizer, method: Compressor, error_feedback: bool) -> DistributedOptimizer:
    """Return an optimizer whose commits, or elastic replies, travel encoded.

    Args:
        optimizer: any that commits deltas, gradients or elastic differences.
        method: encodes and decodes.
        error_feedback: add what a commit leaves out to the next one; differences need no such memory.

    Raises:
        ValueError: commits that cannot be compressed.
    """
    worker, server = optimizer.worker, optimizer.server
    if isinstance(worker.steps.until, Judged):
        raise ValueError("its workers judge by exact replies when to exchange; set optimizer.equilibrium=none")
    if reason := REFUSED.get(worker.sends):
        raise ValueError(reason)
    if worker.sends == "elastic":
        return optimizer._replace(worker=_elastic_worker(worker, method), server=_elastic_server(server, method))

    def warnings(workers: int, window: int) -> list[str]:
        words = optimizer.warnings(workers, window)
        if stays:  # the rest stays in the worker, so the warnings about lost or repeated rests do not apply
            return words
        words = words + method.warnings(error_feedback)
        return [*words, UNDONE] if error_feedback and _drops(optimizer, workers) else words

    stays = worker.sends == "difference"
    sender = _sender(worker, method, error_feedback, stays)
    return optimizer._replace(worker=sender, server=_receiver(server, method), warnings=warnings)


def _drops(optimizer: DistributedOptimizer, workers: int) -> bool:
    """Return whether commits may be dropped: if the quorum is all workers, none is late."""
    return optimizer.synchrony.max_staleness is not None and optimizer.synchrony.quorum < workers


def _sender(rule: WorkerRule, method: Compressor, error_feedback: bool, stays: bool) -> WorkerRule:
    """Encode the rule's commits; what a commit leaves out is added to the next one, or `stays` in the worker."""
    error_feedback = error_feedback and not stays
    remembers = error_feedback or stays

    def init(params: Params) -> Sender:
        # All workers have the same first memory, because it is made before they have their own keys.
        error = jax.tree.map(jnp.zeros_like, params) if remembers else ()
        return Sender(rule.init(params), method.init(params, jax.random.key(0)), error)

    def commit(window: Window, state: Sender) -> tuple[Message, Sender]:
        z, inner = rule.commit(window, state.rule)
        if error_feedback:
            z = jax.tree.map(jnp.add, z, state.error)
        code, memory = method.encode(z, state.memory, window.key)
        error = jax.tree.map(jnp.subtract, z, method.decode(code, z)) if remembers else ()
        return code, Sender(inner, memory, error)

    def adopt(reply: Reply, window: Window, state: Sender) -> tuple[Params, Sender]:
        params, inner = rule.adopt(reply, window, state.rule)
        if stays:
            params = jax.tree.map(jnp.add, params, state.error)
        return params, state._replace(rule=inner)

    def rejoin(center: Params, state: Sender) -> Sender:
        return state._replace(rule=rule.rejoin(center, state.rule)) if rule.rejoin else state

    return rule._replace(
        commit=commit, adopt=adopt, init=init, rejoin=rejoin, sends="encoded elastic" if stays else "encoded"
    )


def _receiver(rule: ServerRule, method: Compressor) -> ServerRule:
    """Decode commits before the rule folds them."""

    def update(commits: Commits, state: State, center: Params) -> Update:
        decoded = jax.vmap(lambda code: method.decode(code, center))(commits.message)
        return rule.update(commits._replace(message=decoded), state, center)._replace(norm=norms(decoded))

    return rule._replace(update=update)


def _elastic_worker(rule: WorkerRule, method: Compressor) -> WorkerRule:
    """Decode replies; send a key with the parameters if the server needs random numbers to encode."""

    def commit(window: Window, state: State) -> tuple[Message, State]:
        message, state = rule.commit(window, state)
        return (message, jax.random.key_data(window.key) if method.random else ()), state

    def adopt(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
        return rule.adopt(method.decode(reply, window.end), window, state)

    return rule._replace(commit=commit, adopt=adopt, sends="encoded elastic")


def _elastic_server(rule: ServerRule, method: Compressor) -> ServerRule:
    """Encode the differences, and add to the center what the workers will decode."""

    def encode(difference: Params, key: Any) -> Any:
        key = jax.random.wrap_key_data(key) if method.random else key
        return method.encode(difference, method.init(difference, key), key)[0]

    def update(commits: Commits, state: State, center: Params) -> Update:
        parameters, keys = commits.message
        inner = rule.update(commits._replace(message=parameters), state, center)
        codes = jax.vmap(encode)(inner.replies, keys)
        gained = jax.vmap(lambda code: method.decode(code, center))(codes)
        center = jax.tree.map(lambda c, y: c + jnp.sum(y, axis=0), center, gained)
        return inner._replace(center=center, replies=codes, norm=norms(parameters))

    return rule._replace(update=update)
