"""Hogwild!: nobody locks anything, and what a worker reads may be torn between two versions of the center.

    write:  θ̃ ← θ̃ + Δθᵏ
    read:   θᵏ ← the first `torn` of the coordinates as they were before the write, the others as they are after it

What a worker reads is from two moments: the first coordinates from a center that it fetches before it commits, with its
own commit added, as it sees its own writes, the others from the reply. In between other workers may have written.
Writes are additions per coordinate, which commute, so that shards of the center that apply them one by one in any order
end the same: only reads can be torn. One worker alone is sequential, whatever `torn` is; `torn=0` is Downpour.

Source: F. Niu, B. Recht, C. Ré, S. Wright, "Hogwild!: A Lock-Free Approach to Parallelizing Stochastic Gradient
Descent", 2011. Shards of a parameter server that are read and written each by itself: J. Dean et al. 2012, section 4.1.
Differences: there, memory is shared, gradients are sparse and touch few coordinates, and the theory rests on that; here
gradients are dense. A tear is at the same coordinate in every read, and there is one. Both reads travel whole, so that
`bytes_down` is twice that of a real one. `staleness`, `distance` and gap count from the read right before the commit,
as with every rule that pulls before it commits, though the gradient was taken at the reply before: with `torn` > 0 they
are about 0 where Downpour's staleness is n − 1. In virtual time nothing comes between two messages that take no time:
choose a cluster with latency. Model parallelism, groups of devices whose members each exchange a part of the parameters
with a shard of the center that has a version of its own (DistBelief), is not to be had: torn reads are the nearest
there is.
"""

import jax
import jax.numpy as jnp

from distopt.optimizers.parts import DELTA, additive, commit_delta
from distopt.rules import DistributedOptimizer, Params, Reply, State, Window, WorkerRule
from distopt.settings import require_number


def hogwild(*, torn: float) -> DistributedOptimizer:
    """Build Hogwild!.

    Args:
        torn: 0 ≤ share ≤ 1 of the coordinates, in the order of the leaves, that are read before the worker's write.
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
    """Return the place of every coordinate, 0, 1, …, in arrays with the shapes of the leaves."""
    places, first = [], 0
    for leaf in jax.tree.leaves(tree):
        places.append(first + jnp.arange(leaf.size).reshape(leaf.shape))
        first += leaf.size
    return places
