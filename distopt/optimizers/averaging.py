"""Model averaging: workers train by themselves for a window, then all continue from the mean.

    θ̃ ← (1/n) Σₖ θᵏ,      θᵏ ← θ̃

Also known as local SGD, and as FedAvg with equal weights.

Source: Hermans 2017, equations 2.2 and 2.3, algorithm 3.
Differences: dist-keras's `AveragingTrainer` averages once per epoch and never clears its buffer, so that from the
second epoch on it averages over the previous mean as well. Only parameters are averaged: at every pull a worker's local
optimizer keeps or resets its state (`local.on_pull`); the states are not averaged.
"""

from distopt.optimizers.parts import PARAMETERS, mean, stateless
from distopt.rules import BARRIER, Commits, DistributedOptimizer, Params, ServerRule, State, Update


def averaging() -> DistributedOptimizer:
    """Build model averaging with a barrier at the end of every window."""

    def update(commits: Commits, state: State, center: Params) -> Update:
        del center
        return Update(mean(commits.message), state)

    return DistributedOptimizer(PARAMETERS, ServerRule(stateless, update), BARRIER)
