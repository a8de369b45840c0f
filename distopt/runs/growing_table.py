"""A table that grows while a run goes on, and can be read at any moment."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from distopt.files.untrusted import BROKEN, regular

FLUSH_S = 0.5  # a record batch per row would cost more than the row


class Stream:
    """A table that grows: an Arrow stream while the run goes on, Parquet once it is closed."""

    def __init__(self, path: Path, first_columns: list[str]) -> None:
        self.count = 0  # rows so far, those in memory included
        self._path = path
        self._first = first_columns
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._file: Any = None
        self._schema: pa.Schema | None = None
        self._rows: list[dict[str, Any]] = []
        self._flushed = time.monotonic()

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows; they reach the file with the first call that is `FLUSH_S` seconds after the last flush."""
        self._rows += rows
        self.count += len(rows)
        if self._rows and time.monotonic() - self._flushed >= FLUSH_S:
            self._flush()

    def sync(self) -> None:
        """Write all rows to the disk."""
        self._flush()
        if self._file:
            os.fsync(self._file.fileno())

    def cut(self, count: int) -> pa.Table | None:
        """Remove all rows but the first `count`, also those of an earlier process; new rows follow these.

        Returns:
            The removed rows; None if there never was a row.
        """
        self._flush()
        if self._file:
            self._file.close()
        self._writer = None
        table = read_table(self._path)
        self.count = 0 if table is None else min(count, table.num_rows)
        if table is not None and self.count:
            partial = self._path.with_suffix(".arrow.partial")
            self._open(partial, table.schema)
            self._write(table[: self.count])
            os.fsync(self._file.fileno())
            partial.replace(self._path)
        else:
            self._path.unlink(missing_ok=True)
        self._path.with_suffix(".parquet").unlink(missing_ok=True)
        return None if table is None else table[self.count :]

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._flushed = time.monotonic()
        if not rows:
            return
        if self._writer is None:  # the first rows decide the columns
            names = [*self._first, *sorted(name for name in rows[0] if name not in self._first)]
            self._open(self._path, pa.schema([(name, _kind(rows[0][name])) for name in names]))
        self._write(pa.Table.from_pylist(rows, schema=self._schema))

    def _open(self, path: Path, schema: pa.Schema) -> None:
        self._schema, self._file = schema, path.open("wb")
        self._writer = pa.ipc.new_stream(self._file, schema)

    def _write(self, table: pa.Table) -> None:
        assert self._writer is not None
        try:
            self._writer.write_table(table)
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    def close(self) -> None:
        """Turn the stream into a Parquet file; without a single row there is no file."""
        try:
            self._flush()
            if self._writer:
                self._writer.close()
        finally:
            if self._file:
                self._file.close()
        if self._writer is None:
            return
        partial = self._path.with_suffix(".parquet.partial")
        try:
            with pa.OSFile(str(self._path), "rb") as source:
                stream = pa.ipc.open_stream(source)
                with pq.ParquetWriter(partial, stream.schema) as writer:
                    for batch in _large(stream):
                        writer.write_table(batch)
            partial.replace(self._path.with_suffix(".parquet"))
        finally:
            partial.unlink(missing_ok=True)
        self._path.unlink()


def read_table(path: Path) -> pa.Table | None:
    """Return the rows of a table by the path of its stream, closed or not; None if there never was one.

    Raises one of `distopt.files.untrusted.BROKEN` if a closed table is damaged.
    """
    parquet = path.with_suffix(".parquet")
    if parquet.is_file():
        with pq.ParquetFile(regular(parquet)) as file:
            return file.read(use_threads=False)
    return read_stream(path)


def read_stream(path: Path) -> pa.Table | None:
    """Read an Arrow stream up to its last complete batch: its writer may be at work, or may have been killed."""
    batches: list[pa.RecordBatch] = []
    if path.is_file():
        with path.open("rb") as file:
            try:
                for batch in pa.ipc.open_stream(file):
                    batches.append(batch)
            except (*BROKEN, pa.ArrowException):
                pass
    return pa.Table.from_batches(batches) if batches else None


def _large(stream: Any, rows: int = 100_000) -> Any:
    """Collect a stream's small batches into tables of about `rows` rows: one row group each."""
    batches: list[pa.RecordBatch] = []
    count = 0
    for batch in stream:
        batches.append(batch)
        count += batch.num_rows
        if count >= rows:
            yield pa.Table.from_batches(batches).combine_chunks()
            batches, count = [], 0
    if batches:
        yield pa.Table.from_batches(batches).combine_chunks()


def _kind(value: Any) -> pa.DataType:
    return pa.string() if isinstance(value, str) else pa.int64() if isinstance(value, int) else pa.float64()
