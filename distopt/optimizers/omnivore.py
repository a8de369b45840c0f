"""Omnivore's compute groups: synchronous inside a group of workers, asynchronous between groups.

    θ̃ ← θ̃ + u,      u ← μ u + U(θ̃, mean gᵏ of one group's workers)      θᵏ ← θ̃ for all workers of that group

Asynchrony itself adds a momentum of 1 − 1/g if the times of groups are exponential. They are if every worker is its own
group (g = n) and step times are exponential. A group of several workers waits for its slowest one. That time varies
less, and the momentum is smaller: with exponential step times 0.71 for 4 groups of 4, 0.47 for 2 of 2, 0.40 for 2 of 8.
The explicit μ adds what is missing to the wanted momentum, and may be negative. g = 1 is synchronous SGD, g = n
asynchronous SGD.

Source: S. Hadjis et al., "Omnivore: An Optimizer for Multi-device Deep Learning on CPUs and GPUs", 2016
(arXiv:1606.04487); I. Mitliagkas et al., "Asynchrony begets momentum", 2016 (arXiv:1605.09774).
Differences: the paper's optimizer chooses g and μ by trial runs; here both are settings. There is also no controller
that measures the total momentum in training and corrects μ, as closed-loop YellowFin has (J. Zhang, I. Mitliagkas,
2017, arXiv:1706.03471). The paper's groups share the work of one batch; here every worker has its own batch, and a
group's gradient is the mean over its workers. Groups are workers with neighbouring numbers.
"""

import optax

from distopt.optimizers.parts import additive, mean
from distopt.optimizers.synchronous import synchronous
from distopt.rules import ALL, DistributedOptimizer, Synchrony
from distopt.settings import require_number, require_whole


def omnivore(*, groups: int, momentum: float, local: optax.GradientTransformation) -> DistributedOptimizer:
    """Build Omnivore's compute groups.

    Args:
        groups: g ≥ 1; numbers above n count as n.
        momentum: −1 < μ < 1, explicit momentum at the server.
        local: the configured local optimizer, here applied by the server to a group's mean gradient.
    """
    require_whole("groups", groups)
    require_number("momentum", momentum, least=-1, most=1, below=True)
    tx = optax.chain(local, optax.trace(momentum)) if momentum else local
    server = additive(tx, fold=lambda commits: mean(commits.message))
    return synchronous(local=local)._replace(server=server, synchrony=Synchrony(ALL, groups=groups))
