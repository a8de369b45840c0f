"""Locks, so that one process makes a run and writes its folder; they end with the process, also after a crash."""

import fcntl
import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from distopt.errors import ResultsError


def held(folder: Path) -> bool:
    """Return whether a process writes the folder; True where that cannot be told."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # somebody does, or the file system has no locks
        return True
    finally:
        os.close(handle)
    return False


class Lock:
    """A lock on a run's folder, held until `release`, garbage collection or the end of the process."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder; on a file system without locks do nothing.

        Raises:
            ResultsError: another process holds the lock.
        """
        handle = os.open(folder, os.O_RDONLY)
        self.release = weakref.finalize(self, os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise ResultsError(f"{folder}: its run is still going on; wait for its end, or stop it") from None
        except OSError:  # a file system without locks
            pass


class Claim:
    """A lock by name, for what has no folder yet: a file that is there while the lock is held.

    `taken` tells whether this process has it; on a file system without locks everybody has.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock if nobody has it."""
        self._path = path
        self._end: Callable[[], object] = lambda: None
        self.taken = True
        while (handle := self._open()) is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.taken = False
            except OSError:  # a file system without locks
                pass
            if self.taken and not self._is_there(handle):  # its owner removed it in the meantime
                os.close(handle)
                continue
            self._end = weakref.finalize(self, os.close, handle)
            return

    def _open(self) -> int | None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:  # whoever cannot write here says so when making the run's folder
            return None

    def _is_there(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(handle))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back."""
        if self.taken:
            with suppress(OSError):
                self._path.unlink()
        self._end()
