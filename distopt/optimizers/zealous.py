"""Zealous Downpour: a worker goes on while the server is busy, and commits as soon as it finds it free.

    after each local step i of a window:   if i = λ or the server is free:  θ̃ ← θ̃ + Σ U,  θᵏ ← θ̃
    explore:                               θᵏ ← θᵏ + U(θᵏ, g) at every step, as in Downpour
    otherwise:                             θᵏ stays, Σ g is committed and the local optimizer runs at the server

No worker waits for another one's commit; windows get as long as the server's load makes them. A server that is always
free gives `downpour` with a window of 1; one that never is, `downpour` with window λ. The window of each commit is
recorded as its `steps`.

Source: G. Louppe, P. Geurts, "A zealous parallel gradient descent algorithm", 2010; Hermans 2017, algorithm 6.
Differences: the paper's threads share memory and look at a mutex; here a worker looks whether any commit waits for an
answer, and on another node than the server's it learns that a step later. The thesis sums gradients at fixed
parameters, which is `explore: false`, although its algorithm leaves open what the next step starts from.
"""

import optax

from distopt.optimizers.parts import DELTA, additive, adopt_center, commit_gradients
from distopt.rules import DistributedOptimizer, Steps, WhenFree, WorkerRule
from distopt.settings import require_flag


def zealous(*, local: optax.GradientTransformation, explore: bool) -> DistributedOptimizer:
    """Build zealous Downpour.

    Args:
        local: the configured local optimizer; with `explore=False` the server runs it, on the sum of gradients.
        explore: take local steps inside a window; else sum gradients at the parameters it began with.
    """
    require_flag("explore", explore)
    if explore:
        return DistributedOptimizer(DELTA._replace(steps=Steps(until=WhenFree())), additive())
    worker = WorkerRule(commit_gradients, adopt_center, sends="gradient", steps=Steps("gradients", WhenFree()))
    return DistributedOptimizer(worker, additive(local))
