"""Which worker actors are training, and which are gone or have been silent for too long."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

PING_S = 1.0


@dataclass
class Group:
    """A worker actor as its driver knows it."""

    actor: Any
    hosted: list[int]
    call: tuple[Any, ...]  # method and arguments that start its training; repeated if the answer gets lost
    incarnation: int = 0
    training: Any = None  # reference to the answer of that call, which comes when training ends
    ping: Any = None  # reference to the answer of a ping
    asked: float = 0.0  # when the last ping was sent
    heard: float = field(default_factory=time.monotonic)  # when it last answered, or was made
    pid: int | None = None  # its process, if that is on this machine

    def train(self) -> None:
        """Start its training, or ask again for the end of it."""
        self.training = self.actor.call.remote(*self.call)

    @property
    def name(self) -> str:
        """Return which workers it hosts."""
        return f"workers {', '.join(map(str, self.hosted))}"


class Attendance:
    """The worker actors that are training."""

    def __init__(self, ray: Any, timeout: float) -> None:
        self._ray = ray
        self._timeout = timeout
        self._here = ray.get_runtime_context().get_node_id()
        self.groups: list[Group] = []

    def enter(self, group: Group) -> None:
        """Start a group's training, and watch the group."""
        group.train()
        self.groups.append(group)

    def look(self, wait_s: float) -> list[tuple[Group, str, bool]]:
        """Wait up to `wait_s` seconds; return the lost groups, why, and whether they raised the error themselves."""
        ends = [group.training for group in self.groups]
        ready = set(self._ray.wait(ends, num_returns=len(ends), timeout=wait_s)[0]) if ends else set()
        gone = []
        for group in list(self.groups):
            reason, own = self._end(group) if group.training in ready else (None, False)
            if group.training is not None and reason is None and (reason := self._silence(group)):
                _kill(group)
            if reason is not None:
                gone.append((group, reason, own))
                self._ray.kill(group.actor)
            if reason is not None or group.training is None:
                self.groups.remove(group)
        return gone

    def _end(self, group: Group) -> tuple[str | None, bool]:
        """Return why a group failed and whether it raised that itself; None if it is done, or if an answer got lost."""
        from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

        try:
            self._ray.get(group.training)
            group.training = None
        except ActorUnavailableError:  # it may still train: ask again; a lost one will be silent
            group.train()
        except RayError as error:
            return cause(error), isinstance(error, RayTaskError)
        return None, False

    def _silence(self, group: Group) -> str | None:
        """Ping a group every `PING_S` seconds; return why it counts as lost, None if it does not."""
        from ray.exceptions import RayError

        now = time.monotonic()
        if group.ping is not None and self._ray.wait([group.ping], timeout=0)[0]:
            with suppress(RayError):
                node, pid = self._ray.get(group.ping)
                group.heard, group.pid = now, pid if node == self._here else None
            group.ping = None
        if group.ping is None and now - group.asked > PING_S:
            group.ping, group.asked = group.actor.call.remote("ping"), now
        if now - group.heard > self._timeout:
            return f"silent for launcher.timeout={self._timeout:g} seconds"
        return None


def _kill(group: Group) -> None:
    """Kill the process of a silent group: Ray only asks an actor to end, and a suspended process does not react."""
    if group.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(group.pid, signal.SIGKILL)


def cause(error: Exception) -> str:
    """Return the line of an actor's error that says what happened."""
    found = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(found).splitlines() if line.strip()]
    return f"{type(found).__name__}: {lines[0] if lines else ''}"
