"""FedBuff, buffered asynchronous aggregation: the center moves by the mean of every K commits, and no worker waits.

    B ← B + Δθᵏ / (1 + τ)ᵃ;      at the K-th commit:   θ̃ ← θ̃ + ηₛ B / K,   B ← 0;      θᵏ ← θ̃ at once

τ counts moves of the center since the worker's last reply (column `delay`); the column `staleness` counts commits.
`update` also counts every commit, even one that only fills the buffer: K updates are one move of the center, and as
many commits as one update of `averaging` with K workers. Compare the two by samples or moves, not by updates.

K = n with workers in lock step is model averaging in the first round only. No worker waits for the end of a round: the
first n − 1 committers go on from the center before its move, so that from then on n − 1 of n commits are one move late
(τ = 1).

Source: J. Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", 2022 (arXiv:2106.06639).
Differences: FLSim adds the sum instead of the mean by default and normalizes the weights so that a fresh commit counts
more than once; Plato's version has no staleness weight. Secure aggregation and client sampling are left out. When
training ends, the server adds the commits in the buffer with the same weight ηₛ / K each.
"""

from distopt.optimizers.parts import buffered
from distopt.rules import DistributedOptimizer
from distopt.settings import require_number, require_whole


def fedbuff(*, buffer: int, learning_rate: float, exponent: float) -> DistributedOptimizer:
    """Build FedBuff.

    Args:
        buffer: K ≥ 1, commits per move of the center.
        learning_rate: ηₛ > 0 of the server.
        exponent: a ≥ 0 of the staleness weight; 0 weights all commits equally.
    """
    require_whole("buffer", buffer)
    require_number("learning_rate", learning_rate)
    require_number("exponent", exponent, positive=False)
    return buffered(buffer, lambda delay: (1.0 + delay) ** -exponent, learning_rate)
