"""How files get damaged, and what may come of reading them."""

import warnings
from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st

from distopt.errors import DistoptError

Result = TypeVar("Result")


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """A good file with some bytes overwritten, a piece cut out or put in, or its end missing."""
    content = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["overwrite", "insert", "remove", "truncate"])):
            case "overwrite":
                piece = draw(st.binary(min_size=1, max_size=8))
                content[place : place + len(piece)] = piece
            case "insert":
                content[place:place] = draw(st.binary(min_size=1, max_size=40))
            case "remove":
                del content[place : place + draw(st.integers(1, 40))]
            case "truncate":
                del content[place:]
    return bytes(content)


def read_or_refuse(read: Callable[[], Result]) -> Result | None:
    """Return what `read` returns, or None if it refuses in a way that a user can use."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries, about what they are about to refuse or to repair
            return read()
    except DistoptError as error:
        told = str(error)
    assert told.strip()
    assert len(told.splitlines()) <= 3, told
    return None
