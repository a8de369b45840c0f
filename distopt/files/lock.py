"""A lock on a run's folder, so that one process writes it; it ends with the process, also after a crash."""

import fcntl
import os
import weakref
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
