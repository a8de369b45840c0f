"""The one vocabulary for checking settings: what a value must be, as a test and in words. No JAX."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
MOST = 2**31 - 1  # whole numbers have to fit into an int32


class Check(NamedTuple):
    """What a setting must be."""

    words: str  # completes `must be …`
    accepts: Callable[[Any], bool]


def whole(least: int = 0, most: int = MOST) -> Check:
    """Ask for a whole number of at least `least`; True and False are none."""
    return Check(f"a whole number >= {least}", lambda v: type(v) is int and least <= v <= most)


def number(least: float = -math.inf, most: float = math.inf, *, above: bool = False, below: bool = False) -> Check:
    """Ask for a finite number ≥ `least` (> with `above`) and ≤ `most` (< with `below`)."""
    words = "a number" + (f" {'>' if above else '>='} {least:g}" if least > -math.inf else "")
    words += f" and {'<' if below else '<='} {most:g}" if most < math.inf else ""

    def accepts(v: Any) -> bool:
        finite = isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < math.inf
        return finite and (v > least if above else v >= least) and (v < most if below else v <= most)

    return Check(words, accepts)


def or_null(check: Check) -> Check:
    """Ask for null or what another check asks for."""
    return Check(f"{check.words} or null", lambda v: v is None or check.accepts(v))


def one_of(*choices: Any) -> Check:
    """Ask for one of some values."""
    return Check(f"one of {', '.join(map(str, choices))}", lambda v: v in choices)


def list_of(item: Check, what: str, *, different: bool = False, least: int = 0) -> Check:
    """Ask for a list of at least `least` items, with `different` all different; `what` are the words of the check."""

    def accepts(v: Any) -> bool:
        if not isinstance(v, Sequence) or isinstance(v, str) or len(v) < least or not all(map(item.accepts, v)):
            return False
        return not different or len(set(v)) == len(v)

    return Check(what, accepts)


FLAG = Check("true or false", lambda v: isinstance(v, bool))
WORD = Check("a word", lambda v: isinstance(v, str))
TEXT = Check("text", lambda v: isinstance(v, str) and v != "")
PATH = Check("a path", lambda v: isinstance(v, str) and v != "" and "\0" not in v)
NAMED = Check("settings by name", lambda v: isinstance(v, dict))


def shown(value: Any) -> str:
    """Return a value as YAML writes it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def problem(key: str, value: Any, check: Check) -> str | None:
    """Return what is wrong with a setting, None if nothing is."""
    if check.accepts(value):
        return None
    limit = f", at most {MOST}" if type(value) is int and value > MOST else ""
    return f"{key}={shown(value)} must be {check.words}{limit}"


def require(key: str, value: Any, check: Check) -> None:
    """Raise ValueError unless a setting passes a check."""
    if words := problem(key, value, check):
        raise ValueError(words)


def require_number(
    name: str, value: Any, *, positive: bool = True, least: float = 0.0, most: float = math.inf, below: bool = False
) -> None:
    """Raise ValueError unless a setting is a finite number > `least` (≥ without `positive`) and ≤ `most`."""
    require(name, value, number(least, most, above=positive, below=below))


def require_whole(name: str, value: Any, *, optional: bool = False, least: int = 1) -> None:
    """Raise ValueError unless a setting is a whole number ≥ `least` (or None with `optional=True`)."""
    require(name, value, or_null(whole(least)) if optional else whole(least))


def require_flag(name: str, value: Any) -> None:
    """Raise ValueError unless a setting is true or false."""
    require(name, value, FLAG)


def require_choice(name: str, value: Any, choices: Mapping[str, T]) -> T:
    """Return the choice that a setting names; raise ValueError if there is none."""
    require(name, value, Check(one_of(*choices).words, lambda v: isinstance(v, str) and v in choices))
    return choices[value]


def flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one level with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
