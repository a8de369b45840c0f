"""Zealous Downpour: a worker takes further steps while the server is busy, and commits as soon as that is free.

    after each local step i of a window:   if i = λ or the server is free:  θ̃ ← θ̃ + Σ U,  θᵏ ← θ̃
    explore:                               θᵏ ← θᵏ + U(θᵏ, g) at every step, as in Downpour
    otherwise:                             θᵏ stays; the worker commits Σ g and the server runs the local optimizer

No worker waits for another worker's commit; the server's load decides how long windows get. A server that is always
free gives `downpour` with a window of 1; a server that is never free gives `downpour` with window λ. The column `steps`
records the window of each commit.

Source: G. Louppe, P. Geurts, "A zealous parallel gradient descent algorithm", 2010; Hermans 2017, algorithm 6.
Differences: the paper's threads share memory and look at a mutex; here a worker checks whether any commit waits for a
reply, and on a node other than the server's it learns this a step later. The thesis sums gradients at fixed parameters,
which is `explore: false`, although its algorithm does not say where the next step starts.
"""

import optax

from distopt.optimizers.parts import DELTA, additive, adopt_center, commit_gradients
from distopt.rules import DistributedOptimizer, Steps, WhenFree, WorkerRule
from distopt.settings import require_flag


def zealous(*, local: optax.GradientTransformation, explore: bool) -> DistributedOptimizer:
    """Build zealous Downpour.

    Args:
        local: the configured local optimizer; with `explore=False` the server runs it on the sum of gradients.
        explore: take local steps inside a window; else sum gradients at the parameters at its start.
    """
    require_flag("explore", explore)
    if explore:
        return DistributedOptimizer(DELTA._replace(steps=Steps(until=WhenFree())), additive())
    worker = WorkerRule(commit_gradients, adopt_center, sends="gradient", steps=Steps("gradients", WhenFree()))
    return DistributedOptimizer(worker, additive(local))
