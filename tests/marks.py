"""Marks for single rows of a parametrization."""

from collections.abc import Iterable
from typing import Any

import pytest


def slow(*values: Any, id: str | None = None) -> Any:
    """Return a row that `make test` leaves out: it repeats with other settings what another row covers."""
    return pytest.param(*values, marks=pytest.mark.slow, id=id)


def quick(rows: Iterable[Any], kept: Iterable[Any]) -> list[Any]:
    """Return rows of one value each, of which `make test` takes those to be kept."""
    rows, kept = list(rows), list(kept)
    missing = [row for row in kept if row not in rows]
    assert not missing, f"no such rows: {missing}"
    return [row if row in kept else slow(row) for row in rows]
