"""Hogwild!: no locks; what a worker reads may be torn between two versions of the center.

    write:  θ̃ ← θ̃ + Δθᵏ
    read:   θᵏ ← the first share `torn` of the coordinates from before the write, the others from after it

A worker reads at two moments. The first coordinates come from a center that it pulls before it commits, plus its own
commit, because a worker sees its own writes; the others come from the reply. Other workers may write in between. Writes
are additions per coordinate, which commute: shards of the center that apply them in any order end the same, so only
reads can be torn. One worker alone is sequential SGD for any `torn`; `torn=0` is Downpour.

Source: F. Niu, B. Recht, C. Ré, S. Wright, "Hogwild!: A Lock-Free Approach to Parallelizing Stochastic Gradient
Descent", 2011. Independently read and written shards of a parameter server: J. Dean et al. 2012, section 4.1.
Differences: in the paper memory is shared, and gradients are sparse and touch few coordinates, on which the theory
rests; here gradients are dense. Every read has one tear, always at the same coordinate. Both reads travel whole, so
that `bytes_down` is twice that of a real read. `staleness`, `distance` and gap count from the read right before the
commit, as with every rule that pulls before it commits, although the gradient was taken at the reply before: with
`torn` > 0 they are about 0 where Downpour's staleness is n − 1. In virtual time no commit can come between two messages
that take no time: choose a cluster with latency. Model parallelism as in DistBelief, where each member of a group of
devices exchanges its part of the parameters with a shard of the center that has its own version, is not available; torn
reads are the nearest to it.
"""

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import DELTA, additive, commit_delta
from distopt.rules import DistributedOptimizer, Params, Reply, State, Window, WorkerRule
from distopt.settings import require_number


def hogwild(*, torn: float) -> DistributedOptimizer:
    """Build Hogwild!.

    Args:
        torn: share of the coordinates, 0 to 1, in the order of the leaves, that are read before the worker's write.
    """
    require_number("torn", torn, positive=False, most=1)
    if torn == 0:
        return DistributedOptimizer(DELTA, additive())

    def adopt(reply: Reply, window: Window, state: State) -> tuple[Params, State]:
        written = jax.tree.map(lambda c, end, start: c + (end - start), window.center, window.end, window.start)
        early = [leaf < torn * _size(reply) for leaf in _places(reply)]
        mask = jax.tree.unflatten(jax.tree.structure(reply), early)
        return jax.tree.map(jnp.where, mask, written, reply), state

    return DistributedOptimizer(WorkerRule(commit_delta, adopt, sends="delta", pull=True), additive())


def _size(tree: Params) -> int:
    """Return the number of coordinates."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _places(tree: Params) -> list[jax.Array]:
    """Return the index of every coordinate, 0, 1, …, in arrays with the shapes of the leaves."""
    places, first = [], 0
    for leaf in jax.tree.leaves(tree):
        places.append(first + jnp.arange(leaf.size).reshape(leaf.shape))
        first += leaf.size
    return places
