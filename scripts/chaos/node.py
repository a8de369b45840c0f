"""A second node of a local cluster, which a disturbed run loses."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from scripts.tools.processes import kill

OPEN = {"RAY_AUTH_MODE": "disabled"}
LIMIT_S = 240


class Node:
    """A node of one CPU that joins a cluster; a context manager that removes it at the end."""

    def __init__(self, folder: Path, address: str) -> None:
        self._log = folder / "node.txt"
        options = f"--address={address} --block --num-cpus=1 --disable-usage-stats --object-store-memory=100000000"
        with self._log.open("w") as file:
            command = [str(Path(sys.executable).with_name("ray")), "start", *options.split()]
            self._process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | OPEN)

    def __enter__(self) -> "Node":
        """Wait until the node has joined."""
        end = time.monotonic() + LIMIT_S
        while "block forever" not in self._log.read_text():
            if self._process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the second node did not start:\n{self._log.read_text()}")
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the node if it still runs."""
        self.remove()

    def remove(self) -> int:
        """Kill all processes of the node at once; return their number."""
        if self._process.poll() is not None:
            return 0
        processes = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        kill(processes)
        self._process.wait()
        return len(processes)
