"""The columns of the page's tables: key in the data, heading, and explanation."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distopt.report.table import with_interval


class Column(NamedTuple):
    """A column: its key in a row, its heading, an explanation, and whether it holds words instead of numbers."""

    key: str
    title: str
    note: str
    words: bool = False


class Cell(NamedTuple):
    """A cell: the text shown, and the value to sort by (empty: last); `status` gives a colour."""

    text: str
    sort: str
    words: bool
    status: str


CONFIGURATIONS = (
    Column("seeds", "seeds", "runs that differ in nothing but the seed"),
    Column("runs", "runs", "with the repetitions of a seed on the wall clock, which count as their mean"),
    Column("status", "status", "how the runs ended", words=True),
    Column("final", "final", "value at the end, mean over seeds"),
    Column("best", "best", "best value, mean over seeds"),
    Column("time_to_target_s", "time to target (s)", "median over seeds; a run that never gets there is infinite"),
    Column("success_rate", "reached", "share of the runs that reach the target"),
    Column("refused_share", "refused", "commits that were refused for their content, over all commits"),
    Column("reference", "reference", "what efficiencies and difference are relative to", words=True),
    Column("te_target", "TE (target)", "temporal efficiency over the reference: ratio of the times to target"),
    Column("te_area", "TE (area)", "temporal efficiency over the reference: ratio of the areas under the curves"),
    Column("difference", "difference", "final value less that of the reference, paired by seed"),
    Column("p_value", "p", "p-value of the paired t-test of that difference, not corrected for many comparisons"),
    Column("updates_to_target", "updates to target", "updates of the center, median over seeds"),
    Column("se_target", "SE", "statistical efficiency over the reference: ratio of the updates to target"),
    Column("samples_per_s", "samples/s", "samples drawn by all workers per second of training"),
    Column("staleness_mean", "staleness", "updates between a worker's pull and its commit, mean"),
    Column("server_busy", "server busy", "share of the time in which the server worked on commits"),
    Column("worker_wait", "workers wait", "share of the workers' time between two windows"),
    Column("bytes_up", "sent up", "bytes from workers to the server"),
    Column("bytes_down", "sent down", "bytes from the server to workers"),
)

RUNS = (
    Column("seed", "seed", "decides initial parameters and batches"),
    Column("status", "status", "how the run ended", words=True),
    Column("final", "final", "value at the end"),
    Column("best", "best", "best value"),
    Column("time_s", "time (s)", "training time on the run's clock"),
    Column("updates", "updates", "updates of the center"),
    Column("epochs", "epochs", "passes over the data set, summed over all workers"),
    Column("total_s", "cost (s)", "wall time of the whole run, with start-up, compilation and evaluation"),
    Column("started", "started", "when the run began", words=True),
)


def cells(columns: Sequence[Column], row: Mapping[str, Any]) -> list[Cell]:
    """Return the cells of a row, a mapping from the columns' keys to values."""
    return [_cell(column, row) for column in columns]


def _cell(column: Column, row: Mapping[str, Any]) -> Cell:
    value = row.get(column.key)
    sort = "" if value is None or value != value else str(value) if column.words else f"{value:.9g}"
    status = "" if column.key != "status" else "mixed" if " " in str(value) else str(value)
    return Cell(with_interval(column.key, {column.key: value} | dict(row)), sort, column.words, status)


def filled(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """Return the columns that have a value in some row."""
    return [column for column in columns if any(_there(row.get(column.key)) for row in rows)]


def _there(value: Any) -> bool:
    return value is not None and value == value
