"""Who writes a run's folder: a lock that ends with the process that holds it, however that ends."""

import fcntl
import os
import weakref
from pathlib import Path

from distopt.errors import ResultsError


class Lock:
    """A run's folder in this process's hands, until it is released, dropped, or the process is gone."""

    def __init__(self, folder: Path) -> None:
        """Take the folder.

        Raises:
            ResultsError: another process has it.
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
