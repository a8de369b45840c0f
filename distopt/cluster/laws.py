"""Laws of random durations, and the random numbers they are drawn with."""

from math import log1p, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: laws a duration can follow; `trace` is for local steps alone and is not drawn
LAWS = ("deterministic", "gamma", "exponential", "lognormal", "pareto", "trace")
#: purposes of random numbers: a change to one purpose leaves the draws of the others unchanged
STEP, STRAGGLER, SERVER, FAILURE, SPEED = range(5)


class Law(NamedTuple):
    """A positive random duration with a given mean and coefficient of variation.

    seconds: mean. law: one of `LAWS`. cv: standard deviation over mean, read by gamma, lognormal and pareto;
    deterministic has 0 and exponential has 1 by definition (see `variation`).
    """

    seconds: float
    law: str = "deterministic"
    cv: float = 0.0

    @property
    def variation(self) -> float:
        """Coefficient of variation that the law really has."""
        return {"deterministic": 0.0, "exponential": 1.0}.get(self.law, self.cv)

    def __str__(self) -> str:
        return f"{self.law}, cv {self.variation:.3g}"


class Streams:
    """The random numbers of a run, each a function of (seed, purpose, worker, chunk) and the position in its chunk.

    Philox is counter based: the last three choose a stretch of the counter that no other choice reaches. Moving one
    generator there costs a tenth of making a new one.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=seed)
        self._state = self._bits.state
        self._generator = np.random.Generator(self._bits)

    def at(self, purpose: int, worker: int = 0, chunk: int = 0) -> np.random.Generator:
        """Return the generator, moved to the beginning of a chunk; the next call moves it away."""
        self._state["state"]["counter"][:] = (0, chunk, purpose, worker)
        self._bits.state = self._state
        return self._generator


def totals(law: Law, counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.floating]:
    """Draw one total per entry of `counts`: the sum of that many independent durations, in seconds.

    With shape a = 1 / cv² the sum of m gamma durations is Gamma(m a) exactly, so it takes one draw; exponential is
    a = 1. Lognormal has σ² = ln(1 + cv²); Pareto has the tail index 1 + √(1 + 1 / cv²), hence always a finite
    variance; both are drawn duration by duration. Entries of `counts` are at least 1.
    """
    if law.law == "deterministic":
        return law.seconds * counts
    if law.law in ("gamma", "exponential"):
        shape = law.variation**-2
        return law.seconds / shape * rng.standard_gamma(counts * shape)
    if law.law == "lognormal":
        sigma = sqrt(log1p(law.cv**2))
        single = rng.lognormal(-(sigma**2) / 2, sigma, int(counts.sum()))
    elif law.law == "pareto":
        tail = 1 + sqrt(1 + law.cv**-2)
        single = (1 - 1 / tail) * (1 + rng.pareto(tail, int(counts.sum())))
    else:
        raise ValueError(f"no draws from the law {law.law!r}")
    return law.seconds * np.add.reduceat(single, np.cumsum(counts) - counts)
