"""Errors a user can cause; one or two lines name the key, the value and the way out."""

from collections.abc import Iterable, Sequence


class DistoptError(Exception):
    """A failure whose message is meant for the user as it stands."""


class ConfigError(DistoptError):
    """One or more mistakes in a configuration, all reported together."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class DataError(ConfigError):
    """A data set that is missing, damaged or does not fit the run."""


class ResultsError(DistoptError):
    """A results folder that cannot be written, or cannot be read."""


def listed(names: Iterable[str], most: int = 20) -> str:
    """Return names separated by commas, at most the first `most`."""
    every = list(names)
    rest = f", ... ({len(every)} in all)" if len(every) > most else ""
    return ", ".join(every[:most]) + rest


def unwritten(error: OSError) -> str:
    """Return what could not be written or read, why, and the way out: a disk is full, read-only or denies access."""
    return f"{error.filename or 'output'}: {error.strerror or error}; make room or choose another place"


def out_of_memory(error: BaseException) -> str | None:
    """Return a message if an error means lack of memory, else None; JAX's own name for it is RESOURCE_EXHAUSTED."""
    words = (str(error).strip() or type(error).__name__).splitlines()[0]
    if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in words:
        return None
    return f"out of memory ({words.partition('RESOURCE_EXHAUSTED: ')[2] or words}); take fewer samples, workers or runs"
