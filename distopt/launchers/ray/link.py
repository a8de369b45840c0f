"""A process's connection to the server: each call takes effect once, even if messages get lost on the way."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from distopt.launchers.ray.faults import Chaos

ATTEMPTS = 100
LONGEST_WAIT_S = 2.0


class Link:
    """Calls methods of the server actor that recognize a call they have answered before."""

    def __init__(self, server: Any, chaos: Mapping[str, Any] | None = None, process: int = 0) -> None:
        self.server = server
        self._chaos = Chaos(chaos, process) if chaos else None
        self._counting = threading.Lock()
        self.calls = self.repeated = 0

    def __call__(self, method: str, *arguments: Any) -> Any:
        """Repeat a call until its outcome is known.

        Raises:
            TimeoutError: it is unknown after `ATTEMPTS` attempts.
        """
        from ray.exceptions import ActorUnavailableError

        for attempt in range(ATTEMPTS):
            with self._counting:
                self.calls += 1
                self.repeated += attempt > 0
            try:
                return self._call(method, *arguments)
            except ActorUnavailableError:  # it may have taken effect or not
                time.sleep(min(0.05 * 2**attempt, LONGEST_WAIT_S))
        raise TimeoutError(f"the server does not answer `{method}`")

    def _call(self, method: str, *arguments: Any) -> Any:
        import ray
        from ray.exceptions import ActorUnavailableError

        if self._chaos is None:
            return ray.get(self.server.call.remote(method, *arguments))
        return self._chaos(
            lambda: self.server.call.remote(method, *arguments), ray.get, lambda why: ActorUnavailableError(why, None)
        )

    def describe(self) -> dict[str, Any]:
        """Return the numbers of calls, of repeated calls, and of injected faults."""
        faults = {"faults": self._chaos.done} if self._chaos else {}
        return {"calls": self.calls, "repeated_calls": self.repeated, **faults}
