"""Downpour SGD: workers add their accumulated updates to the center and continue from it.

    server=null:   θ̃ ← θ̃ + Δθᵏ,                θᵏ ← θ̃,      Δθᵏ = Σ U(θ, g) over the λ local steps of the window
    server={...}:  θ̃ ← θ̃ + Uₛ(θ̃, Σ g),         θᵏ ← θ̃,      Σ g the gradients of the window, Uₛ the server's optimizer
    fetch=f:       θᵏ ← θ̃ only after every f-th commit; after the others a worker goes on from its own θᵏ

DistBelief's server runs Adagrad, a learning rate per weight: Uₛ = −η₀ G / √(v₀ + Σ G² + ε) with G = Σ g of a commit and
Σ G² over all commits so far. v₀ is `initial_accumulator_value`, 0.1 by default and 0 in DistBelief; ε is `eps`, 1e-7 by
default. A weight whose gradients were all 0 stays where it is. Server momentum, of either sign, can correct the
momentum that asynchrony itself adds (1 − 1/n with exponential step times). A warm start first trains one worker alone:
the parameters leave the region of large gradients before the other workers multiply the steps and their delays.

On a quadratic in round robin Downpour is stable iff the gain of a window is below 2 sin(π / (2 (2n − 1))).

Source: J. Dean et al., "Large Scale Distributed Deep Networks", 2012, section 4.1 and algorithm 1.1; Hermans 2017,
equations 2.11 and 2.12, algorithm 5; I. Mitliagkas et al., "Asynchrony begets momentum", 2016.
Differences: n_push = λ and n_fetch = fetch · λ, so that a fetch always comes with a push. DistBelief's are any two
numbers of steps, and both run in the background while a worker computes. Every window has λ steps; dist-keras tests for
the end of a window before the step, so that its first window is one step short. Without an optimizer at the server a
commit is a sum of local updates, not of gradients: adaptive local optimizers keep their scale. With one, workers still
take local steps inside their windows.
"""

from collections.abc import Mapping
from typing import Any

from distopt import local
from distopt.errors import ConfigError
from distopt.optimizers.parts import DELTA, additive, adopt_center, commit_gradients
from distopt.rules import DistributedOptimizer, Steps, Synchrony, WorkerRule
from distopt.settings import require_number, require_whole


def downpour(*, server: Mapping[str, Any] | None = None, fetch: int = 1, warm_start: int = 0) -> DistributedOptimizer:
    """Build Downpour SGD.

    Args:
        server: the optimizer at the server, with the name and settings of a local one, such as `{name: adagrad,
            learning_rate: 0.01, initial_accumulator_value: 0.0}`; None adds commits as they are.
        fetch: f ≥ 1, the server replies to every f-th commit of a worker; staleness counts from that reply.
        warm_start: updates ≥ 0 that worker 0 makes alone; the others then start from the present center.
    """
    require_whole("fetch", fetch)
    require_whole("warm_start", warm_start, least=0)
    synchrony = Synchrony(fetch=fetch, start_after=warm_start)
    if server is None:
        return DistributedOptimizer(DELTA, additive(), synchrony)
    if not isinstance(server, Mapping) or not {"name", "learning_rate"} <= set(server):
        raise ValueError(f"server={server} must be null or have at least a name and a learning_rate")
    require_number("server.learning_rate", server["learning_rate"])
    try:
        tx = local.build(server)
    except ConfigError as error:
        raise ValueError(str(error).replace("local", "server", 1)) from None
    worker = WorkerRule(commit_gradients, adopt_center, sends="gradient", steps=Steps("both"))
    return DistributedOptimizer(worker, additive(tx), synchrony)
