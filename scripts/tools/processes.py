"""Starting the installed `distopt` command, and finding the processes it leaves behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil

EXECUTABLE = str(Path(sys.executable).with_name("distopt"))
LIMIT_S = 240  # so that no command of a test hangs


def distopt(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return exit code and output."""
    return subprocess.run([EXECUTABLE, *arguments], cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S)


class Launched:
    """A command in its own process group, with which a test interferes; a context manager that kills what is left."""

    def __init__(self, *arguments: str, cwd: Path, **environment: str) -> None:
        self._seen: dict[int, psutil.Process] = {}
        self._output = cwd / "output.txt"
        with self._output.open("w") as file:
            self.process = subprocess.Popen(
                [EXECUTABLE, *arguments],
                cwd=cwd,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | environment,
            )

    def __enter__(self) -> "Launched":
        """Return the command, already started."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill whatever is left."""
        kill(self.processes())
        self.process.kill()
        self.process.wait()

    @property
    def output(self) -> str:
        """What the command has printed so far."""
        return self._output.read_text()

    def processes(self) -> list[psutil.Process]:
        """Return all descendants seen so far; call it while they run."""
        if self.process.poll() is None:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                self._seen[process.pid] = process
        return list(self._seen.values())

    def server(self) -> psutil.Process:
        """Return the process of the parameter server."""
        return self._actors("ServerHost")[0]

    def workers(self) -> list[psutil.Process]:
        """Return the processes of the worker actors."""
        return self._actors("WorkerHost")

    def evaluators(self) -> list[psutil.Process]:
        """Return the processes of the actors that only evaluate."""
        return self._actors("EvaluatorHost")

    def head(self) -> psutil.Process:
        """Return the process of Ray's control store, which every node and driver joins."""
        (store,) = [process for process in self.processes() if _title(process).split(" ")[0].endswith("gcs_server")]
        return store

    def _actors(self, host: str) -> list[psutil.Process]:
        return [process for process in self.processes() if _title(process).startswith(f"ray::{host}")]

    def wait_for(self, happened: Callable[[], Any]) -> Any:
        """Return the first true value of a condition, polled while the command runs."""
        end = time.monotonic() + LIMIT_S
        while not (value := happened()):
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output}"
            assert time.monotonic() < end, f"nothing happened:\n{self.output}"
            time.sleep(0.1)
            self.processes()
        return value

    def end(self) -> int:
        """Wait for the end and return the exit code."""
        while self.process.poll() is None:
            self.processes()
            try:
                self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        return self.process.returncode

    def interrupt(self) -> None:
        """Send SIGINT to the whole process group, as Ctrl-C does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left_over(self) -> list[str]:
        """Return the descendants that still run ten seconds after the end."""
        _, alive = psutil.wait_procs(self._seen.values(), timeout=10)
        return [f"{process.pid} {_title(process)}" for process in alive if process.is_running()]


class Cluster:
    """A Ray cluster of one node, started outside the run; a context manager that returns its address."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._log = folder / "cluster.txt"
        self._environment = os.environ | environment | {"RAY_AUTH_MODE": "disabled"}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    def __enter__(self) -> str:
        """Start the cluster and wait until it is ready."""
        ray = str(Path(sys.executable).with_name("ray"))
        options = f"--head --block --port={self._port} --num-cpus=2 --include-dashboard=false --disable-usage-stats"
        with self._log.open("w") as file:
            command = [ray, "start", *options.split(), "--object-store-memory=200000000"]
            self._process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=self._environment)
        end = time.monotonic() + LIMIT_S
        while "block forever" not in self._log.read_text():
            assert self._process.poll() is None and time.monotonic() < end, self._log.read_text()  # noqa: PT018
            time.sleep(0.1)
        return f"127.0.0.1:{self._port}"

    def __exit__(self, *_: object) -> None:
        """Stop the cluster."""
        below = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        self._process.wait(LIMIT_S)
        kill(psutil.wait_procs(below, timeout=10)[1])


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes; those that have ended meanwhile are passed over."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
