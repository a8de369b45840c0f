"""Files of columns, read whole or batch by batch: Parquet, and folders in which Hugging Face's library saves data."""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from distopt.errors import listed
from distopt.files.untrusted import need, read_mapping, regular

if TYPE_CHECKING:
    import pyarrow as pa

ROOM = 32  # bytes of memory per value while a table is read
ROWS = 1024  # that are decoded together
BUFFER = 1 << 18  # bytes of a column that are read together; without, all that a row group has of it
END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream that was written to its end
DICTIONARY, BATCH = 2, 3  # kinds of messages in a stream
STATE, PARTS = "state.json", "dataset_dict.json"  # of a folder that was saved


class Parquet:
    """A Parquet file; text stays encoded, as a kilobyte can unpack to gigabytes of it."""

    def __init__(self, file: str) -> None:
        """Open it; raises one of `BROKEN`."""
        import pyarrow.parquet as pq

        self._path = regular(file)
        with pq.ParquetFile(self._path) as opened:
            self.schema: pa.Schema = _distinct(opened.schema_arrow)
            self.rows: int = opened.metadata.num_rows

    def table(self, names: Sequence[str]) -> "pa.Table":
        """Return columns by name; raises one of `BROKEN`."""
        need(self.rows * len(self.schema) * ROOM, f"{self._path.name} ({self.rows:,} rows)")
        with self._opened() as file:
            return file.read(columns=list(names), use_threads=False)

    def batches(self, name: str) -> Iterator["pa.Array"]:
        """Yield the values of a column, row group by row group; raises one of `BROKEN`."""
        place = self.schema.get_field_index(name)
        with self._opened() as file:
            for group in range(file.num_row_groups):
                need(file.metadata.row_group(group).column(place).total_uncompressed_size, self._path.name)
                for batch in file.iter_batches(ROWS, [group], [name], use_threads=False):
                    yield batch.column(0)

    def pieces(self, names: Sequence[str], rows: int) -> Iterator["pa.Table"]:
        """Yield columns by name in pieces of at most `rows` rows; raises one of `BROKEN`."""
        import pyarrow as pa

        with self._opened(buffer_size=BUFFER) as file:
            for group in range(file.num_row_groups):
                told = file.metadata.row_group(group)
                columns = [told.column(i) for i in range(told.num_columns)]
                sizes = [each.total_uncompressed_size for each in columns if each.path_in_schema in names]
                need(max(sizes, default=0), self._path.name)
                for batch in file.iter_batches(rows, [group], list(names), use_threads=False):
                    yield pa.Table.from_batches([batch])

    def _opened(self, **options: Any) -> Any:
        import pyarrow.parquet as pq

        texts = [each.name for each in self.schema if kind(each) == "text"]
        return pq.ParquetFile(self._path, read_dictionary=texts, **options)


class Saved:
    """A folder that `save_to_disk` of Hugging Face's `datasets` made, or one of its Arrow files, mapped into memory."""

    def __init__(self, file: str) -> None:
        """Open it; raises one of `BROKEN`."""
        path = Path(file).expanduser()
        self._paths = _data_files(path) if path.is_dir() else [regular(path)]
        for each in self._paths:
            _check_stream(each)
        schemas = [self._opened(each).schema for each in self._paths]
        for each, schema in zip(self._paths, schemas, strict=True):
            if not schema.equals(schemas[0]):
                raise ValueError(f"{each.name} has other columns than {self._paths[0].name}")
        self.schema: pa.Schema = _distinct(schemas[0])

    def table(self, names: Sequence[str]) -> "pa.Table":
        """Return columns by name; raises one of `BROKEN`."""
        import pyarrow as pa

        found = [batch.select(list(names)) for batch in self._batches()]
        rows = sum(len(batch) for batch in found)
        need(rows * len(self.schema) * ROOM, f"{self._paths[0].parent.name} ({rows:,} rows)")
        fields = pa.schema([self.schema.field(name) for name in names])
        return pa.Table.from_batches(found, fields).unify_dictionaries()

    def batches(self, name: str) -> Iterator["pa.Array"]:
        """Yield the values of a column, batch by batch; raises one of `BROKEN`."""
        for batch in self._batches():
            yield batch.column(self.schema.get_field_index(name))

    def _batches(self) -> Iterator["pa.RecordBatch"]:
        for path in self._paths:
            for batch in self._opened(path):
                batch.validate(full=True)  # else offsets that lead out of the file would be followed
                yield batch

    def _opened(self, path: Path) -> Any:
        import pyarrow as pa

        return pa.ipc.open_stream(pa.memory_map(str(path)))


def opened(settings: Mapping[str, Any], key: str) -> Parquet | Saved:
    """Return the file that a setting names; raises one of `BROKEN`."""
    return (Parquet if settings["name"] == "parquet" else Saved)(settings[key])


def kind(field: "pa.Field") -> str | None:
    """Return how a column is read; None if it holds neither numbers nor text."""
    return _kind(field.type)


def _kind(type: Any) -> str | None:
    import pyarrow.types as kinds

    if kinds.is_boolean(type):
        return "flag"
    if kinds.is_decimal(type):
        return "decimal"
    if kinds.is_integer(type) or kinds.is_floating(type):
        return "number"
    if kinds.is_dictionary(type):
        value = _kind(type.value_type)
        return "encoded number" if value == "number" else value if value == "text" else None
    text = kinds.is_string(type) or kinds.is_large_string(type) or kinds.is_string_view(type)
    return "text" if text else None


def _distinct(schema: "pa.Schema") -> "pa.Schema":
    if len(set(schema.names)) < len(schema.names):
        raise ValueError("two columns have the same name")
    return schema


def _check_stream(path: Path) -> None:
    """Raise one of `BROKEN` unless a stream of Arrow is whole, and takes no more memory than its file has bytes."""
    import pyarrow as pa

    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(END)))
        if file.read() != END:
            raise ValueError(f"{path.name} is no stream of Arrow that was written to its end")
    for message in pa.ipc.MessageReader.open_stream(pa.memory_map(str(path))):
        if _compressed(message.metadata.to_pybytes()):
            raise ValueError(f"{path.name} is compressed, which may hide any size; write it without compression")


def _compressed(metadata: bytes) -> bool:
    """Return whether the body of a message is compressed, from its metadata: `Message.fbs` of Arrow, a flatbuffer."""

    def field(table: int, number: int) -> int:
        """Return where a field of a table is, 0 if it is not there."""
        names = table - struct.unpack_from("<i", metadata, table)[0]
        (size,) = struct.unpack_from("<H", metadata, names)
        place = struct.unpack_from("<H", metadata, names + 4 + 2 * number)[0] if 4 + 2 * number < size else 0
        return table + place if place else 0

    def inner(place: int) -> int:
        return int(place + struct.unpack_from("<I", metadata, place)[0])

    root = inner(0)
    kind, batch = metadata[field(root, 1)], inner(field(root, 2))
    if kind not in (DICTIONARY, BATCH):
        return False
    return field(inner(field(batch, 1)) if kind == DICTIONARY else batch, 3) != 0


def _data_files(folder: Path) -> list[Path]:
    """Return the files that a folder's `state.json` lists; raises one of `BROKEN`."""
    if (folder / PARTS).is_file():
        parts = read_mapping(folder / PARTS).get("splits")
        names = listed(map(str, parts)) if isinstance(parts, list) else "none"
        raise ValueError(f"it holds the parts {names}: name the folder of one, with dataset.validation_file another")
    if not (folder / STATE).is_file():
        raise ValueError(f"a folder without {STATE}; save the data with save_to_disk")
    state = read_mapping(folder / STATE)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise ValueError("its rows are picked by a file of indices; call flatten_indices() before save_to_disk")
    entries = state.get("_data_files")
    listing = entries if isinstance(entries, list) else []
    files: list[Any] = [entry.get("filename") for entry in listing if isinstance(entry, dict)]
    if not files or not all(isinstance(name, str) and PurePath(name).name == name for name in files):
        raise ValueError(f"{STATE} lists no files of data in the folder: {json.dumps(entries)[:80]}")
    if absent := [name for name in files if not (folder / name).is_file()]:
        raise ValueError(f"{STATE} lists {listed(absent, 3)}, which is not there")
    return [folder / name for name in files]
