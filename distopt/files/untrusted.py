"""Files from others: only regular files are opened; they never fill the memory, and no code in them runs."""

import bz2
import gzip
import io
import json
import lzma
import stat
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import yaml

from distopt.files import memory

if TYPE_CHECKING:
    import pandas as pd

#: what readers raise if a file is missing, damaged or malicious
BROKEN = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError),
    *(MemoryError, RuntimeError, SyntaxError, struct.error, tokenize.TokenError, yaml.YAMLError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
)
LONGEST = 200  # characters of a reason
LARGEST = {".json": 64 << 20, ".yaml": 1 << 20}  # bytes; the shard sizes of a million workers take 8 MiB
DEEPEST = 100  # levels of a YAML file
MOST_VALUES = 2_000_000  # in a JSON or YAML file, with aliases expanded
CSV_ROOM = 18  # most bytes of memory per byte of text, measured with columns of single digits
_UNPACKERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_PACKED = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".zst", ".7z", ".rar")  # formats that are not unpacked here
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def reason(error: BaseException) -> str:
    """Return in one line why something cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    words = (isinstance(error, OSError) and error.strerror) or str(error).strip() or type(error).__name__
    line = words.splitlines()[0]
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."


def regular(name: str | Path) -> Path:
    """Return the path of a file; refuse folders, and pipes and devices, which may never end.

    Raises:
        OSError, RuntimeError, ValueError: no such file, or not a regular file.
    """
    path = Path(name).expanduser()
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError("it is a folder, a pipe or a device")
    return path


def need(size: int, what: str) -> None:
    """Check that enough memory is free.

    Raises:
        MemoryError: `size`, the estimated bytes needed to read `what`, is more than the free memory.
    """
    free = memory.free()
    if size > free:
        raise MemoryError(f"{what} needs {in_words(size)} of memory, {in_words(free)} are free; take fewer samples")


def unpacked(path: Path, per_byte: int = 1, limit: int | None = None) -> io.BufferedReader:
    """Open a file, unpacked by its suffix (.gz, .bz2, .xz); reading fails once it is too large.

    Args:
        path: the file.
        per_byte: bytes of memory needed for each byte read.
        limit: the most bytes after unpacking, if known.
    """
    return io.BufferedReader(_bounded(path, per_byte, limit), 1 << 20)


def _bounded(path: Path, per_byte: int, limit: int | None = None) -> "_Bounded":
    return _Bounded(_UNPACKERS.get(path.suffix, open)(path, "rb"), path.name, per_byte, limit)


def unpacked_size(name: str | Path, most: float) -> int:
    """Return the bytes of a file after unpacking, if they are at most `most`, else more than that; raises `BROKEN`."""
    path, size = regular(name), 0
    if path.suffix not in _UNPACKERS:
        return path.stat().st_size
    with unpacked(path, 0) as file:
        while size <= most and (block := file.read(1 << 20)):
            size += len(block)
    return size


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON or YAML file; raises one of `BROKEN`."""
    size, largest = regular(path).stat().st_size, LARGEST[path.suffix]
    if size > largest:
        raise ValueError(f"it has {in_words(size)}, such a file at most {in_words(largest)}")
    text = path.read_text(encoding="utf-8")
    content = json.loads(text) if path.suffix == ".json" else _parse_yaml(text)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError("it holds no settings by name")
    _follow(content)
    return content


def csv_names(name: Path, sep: str = ",") -> list[str]:
    """Return the names in the first line of a table, which are distinct; raises one of `BROKEN`."""
    import pandas as pd

    path = regular(name)
    if packed := [suffix for suffix in path.suffixes if suffix.lower() in _PACKED]:
        raise ValueError(f"{packed[0]} is not unpacked, only .gz, .bz2 and .xz of a single table; unpack it")
    with unpacked(path, CSV_ROOM) as file:
        names = pd.read_csv(file, header=None, nrows=1, dtype=str, sep=sep, skipinitialspace=True).iloc[0].dropna()
    if names.str.contains("\0").any():
        raise ValueError("it is no text")
    if names.duplicated().any():  # pandas would rename the second one
        raise ValueError(f"the first line names {names[names.duplicated()].iloc[0]!r} twice")
    return [str(name) for name in names]


def read_csv(name: Path, **options: Any) -> "pd.DataFrame":
    """Return a table with distinct column names; raises one of `BROKEN`.

    Args:
        name: the file.
        options: `sep`, `decimal`, `na_values`, `keep_default_na` and `header` of `pandas.read_csv`.
    """
    import pandas as pd

    if options.get("header", 0) is not None:
        csv_names(name, options.get("sep", ","))
    with unpacked(regular(name), CSV_ROOM) as file:
        table = pd.read_csv(file, low_memory=False, skipinitialspace=True, **options)
    _check_index(table, 0)
    return table


def csv_pieces(name: Path, rows: int, **options: Any) -> Iterator["pd.DataFrame"]:
    """Yield a table in pieces of `rows` rows, each of which fits into memory by itself; raises one of `BROKEN`.

    Args:
        name: the file.
        rows: of a piece; the last one has what is left.
        options: as those of `read_csv`, and `dtype`.
    """
    import pandas as pd

    csv_names(name, options.get("sep", ","))
    bounded, first = _bounded(regular(name), CSV_ROOM), 0
    with io.BufferedReader(bounded, 1 << 20) as file:
        for table in pd.read_csv(file, low_memory=False, skipinitialspace=True, chunksize=rows, **options):
            _check_index(table, first)
            first += len(table)
            bounded.restart()
            yield table


def _check_index(table: "pd.DataFrame", first: int) -> None:
    """Raise ValueError if pandas took a column to name the rows, of which the first has the number `first`."""
    import pandas as pd

    if not table.index.equals(pd.RangeIndex(first, first + len(table))):
        raise ValueError("the first line names fewer columns than there are")


def in_words(size: int) -> str:
    """Return a number of bytes with its unit."""
    for unit, power in (("TB", 12), ("GB", 9), ("MB", 6)):
        if size >= 10**power:
            return f"{size / 10**power:,.1f} {unit}"
    return f"{size} bytes"


def _parse_yaml(text: str) -> Any:
    depth = 0
    for event in yaml.parse(text, Loader=_YAML):  # yaml.load on deep nesting overflows the C stack
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise RecursionError
    return yaml.load(text, Loader=_YAML)


def _follow(content: Any) -> None:
    """Count values with aliases expanded: a YAML file of a kilobyte can expand to a billion values."""
    left, stack = MOST_VALUES, [content]
    while stack:
        node = stack.pop()
        children = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list | tuple) else []
        stack += children
        left -= len(children)
        if left < 0:
            raise ValueError(f"its aliases expand to more than {MOST_VALUES:,} values")


class _Bounded(io.RawIOBase):
    """A stream of bytes that fails as soon as it has too many of them."""

    def __init__(self, file: IO[bytes], name: str, per_byte: int, limit: int | None) -> None:
        self._file = file
        self._name = name
        self._per_byte = per_byte
        self._limit = limit
        self._count = 0

    def readable(self) -> bool:
        """Return True: the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into the buffer and return their number."""
        block = self._file.read(len(buffer))
        self._count += len(block)
        if self._limit is not None and self._count > self._limit:
            raise ValueError(f"it unpacks to more than {in_words(self._limit)}")
        need(self._count * self._per_byte, self._name)
        buffer[: len(block)] = block
        return len(block)

    def restart(self) -> None:
        """Forget what was read, as it is no longer in memory."""
        self._count = 0

    def close(self) -> None:
        """Close the stream and its file."""
        self._file.close()
        super().close()
