"""Evaluations of the center on Ray actors, seen from the driver: during training if wanted, the rest after it."""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from distopt.errors import DistoptError
from distopt.launchers.ray.actors import Actors
from distopt.records import News
from distopt.training.evaluation import reached
from distopt.training.experiment import Goal

ATTEMPTS = 3  # evaluators that may be lost in a row


class Lost(DistoptError):
    """An actor that is needed is gone."""


class Evaluation:
    """Lets actors evaluate the server's snapshots, one after the other.

    Args:
        ray: the module.
        actors: makes evaluators.
        server: the actor that has the snapshots.
        ask: calls a method of an actor; raises Lost.
        goals: that end training when one is reached.
        meanwhile: evaluate during training.
    """

    def __init__(
        self, ray: Any, actors: Actors, server: Any, ask: Callable[..., Any], goals: Sequence[Goal], meanwhile: bool
    ) -> None:
        self.done = 0  # snapshots evaluated
        self.last = -1  # the update of the latest of them
        self.actor = actors.evaluator() if meanwhile else None
        self._ray = ray
        self._actors = actors
        self._server = server
        self._ask = ask
        self._goals = goals
        self._lost = 0  # evaluators lost in a row

    def follow(self, snapshots: int) -> list[dict[str, Any]]:
        """Evaluate the available snapshots, if that is wanted during training; return the new rows.

        Raises:
            Lost: the server is gone.
        """
        found = []
        while self.actor is not None and self.done < snapshots:
            try:
                rows = self._next(self.actor)
            except Lost as error:
                self._ask(self._server, "open")  # raises Lost if the server is gone
                self._replace(error)
                continue
            self._lost = 0
            found += rows
            if reason := reached(self._goals, rows):
                self._ask(self._server, "end", "stopped", reason)
        return found

    def finish(self, workers: Sequence[Any]) -> Generator[News, None, None]:
        """Take the last snapshot, and evaluate all that are left on the first actor that can.

        Raises:
            Lost: no actor can, not even a new one; or the server is gone.
        """
        snapshots = self._ask(self._server, "close")
        candidates = self._candidates(workers)
        actor = next(candidates)
        while self.done < snapshots:
            try:
                yield News([], self._next(actor))
            except Lost as error:
                if (other := next(candidates, None)) is None:
                    raise Lost(f"the center cannot be evaluated: {error}") from None
                actor = other

    def _next(self, actor: Any) -> list[dict[str, Any]]:
        """Evaluate the next snapshot on an actor."""
        rows = self._ask(actor, "evaluate", self._server.call.remote("snapshot", self.done))
        self.done, self.last = self.done + 1, rows[-1]["update"]
        return rows

    def _replace(self, error: Lost) -> None:
        """Make another evaluator; end training if more than `ATTEMPTS` were lost in a row."""
        self._ray.kill(self.actor)
        self._lost += 1
        if self._lost <= ATTEMPTS:
            self.actor = self._actors.evaluator()
            return
        self.actor = None
        self._ask(self._server, "end", "failed", f"the center cannot be evaluated: {error}")

    def _candidates(self, workers: Sequence[Any]) -> Iterator[Any]:
        """Yield the actors that may evaluate: the existing ones, then a new one."""
        yield from [actor for actor in (self.actor, *workers) if actor is not None]
        if self.actor is not None:
            self._ray.kill(self.actor)
        self.actor = self._actors.evaluator()
        yield self.actor
