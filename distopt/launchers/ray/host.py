"""A Ray actor that sets up its process before JAX is imported, then hosts an object.

JAX reads its platform and thread count when it is imported. Ray's own way to set environment variables per actor starts
a fresh process for each and takes seconds; this way uses a process that Ray has ready.
"""

import importlib
import inspect
import os
from collections.abc import Mapping
from typing import Any


class Host:
    """Hosts an object made from `target` (`module:name`) and passes calls on to it.

    Calls are coroutines of one thread: a plain method blocks the actor until it returns; a coroutine may wait while
    other calls are served.
    """

    def __init__(self, environment: Mapping[str, str], target: str, *arguments: Any) -> None:
        os.environ.update(environment)
        module, _, name = target.partition(":")
        self._guest = getattr(importlib.import_module(module), name)(*arguments)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the hosted object."""
        result = getattr(self._guest, method)(*arguments)
        return await result if inspect.isawaitable(result) else result


class ServerHost(Host):
    """Hosts the parameter server: the name is what `ps`, `ray status` and Ray's messages show."""


class WorkerHost(Host):
    """Hosts a group of workers."""


class EvaluatorHost(Host):
    """Hosts a group without workers, which only evaluates."""


def environment(cpus: float, gpus: float) -> dict[str, str]:
    """Return the environment variables of an actor: JAX's platform and threads."""
    threads = str(max(1, int(cpus)))
    variables = {"JAX_PLATFORMS": "cuda" if gpus else "cpu", "PJRT_NPROC": threads}
    variables |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    if 0 < gpus < 1:
        variables["XLA_CLIENT_MEM_FRACTION"] = f"{0.9 * gpus:.3f}"
    return variables
