"""The interface of a method of compression: a pair of pure functions C and C⁻¹ on pytrees of arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from distopt.rules import Params

Code = Any
Memory = Any


def _no_memory(like: Params, key: jax.Array) -> Memory:
    """Return the memory of a method that remembers nothing."""
    del like, key
    return ()


def _no_warnings(error_feedback: bool) -> list[str]:
    """Return no warnings, for a method that works with and without error feedback."""
    del error_feedback
    return []


class Compressor(NamedTuple):
    """A method of compression. A code travels unchanged, so its bytes are those of its leaves."""

    encode: Callable[[Params, Memory, jax.Array], tuple[Code, Memory]]  # z, memory, key → C(z), new memory
    decode: Callable[[Code, Params], Params]  # C(z) and a pytree with the shapes and dtypes of z → y ≈ z
    init: Callable[[Params, jax.Array], Memory] = _no_memory  # like z, key → memory before the first z
    random: bool = False  # whether the keys are used
    warnings: Callable[[bool], list[str]] = _no_warnings  # error feedback → warnings


def biased(name: str) -> Callable[[bool], list[str]]:
    """Return the warnings of a method that needs error feedback to converge."""

    def warnings(error_feedback: bool) -> list[str]:
        if error_feedback:
            return []
        return [
            f"compression={name} without error feedback is biased: it may stop far from a minimum, or diverge "
            "(Karimireddy et al. 2019); set compression.error_feedback=true"
        ]

    return warnings
