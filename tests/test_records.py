"""The kinds of events are documented, and their rows are what the table holds."""

from pathlib import Path

from distopt.records import KINDS, RESTARTS, Event
from distopt.runs.schema import OPTIONAL, REQUIRED

PAGE = Path(__file__).parent.parent / "docs" / "faults.md"


def test_every_kind_and_column_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert set(RESTARTS) < set(KINDS)
    assert [name for name in (*KINDS, *Event._fields) if f"`{name}`" not in text] == []


def test_a_row_has_the_columns_of_the_table() -> None:
    columns = tuple(Event(1, 0.5, 2, "lost").row())
    assert tuple(name for name in columns if name not in OPTIONAL) == REQUIRED["events"]
    assert set(columns) - set(REQUIRED["events"]) == {"kept"}
