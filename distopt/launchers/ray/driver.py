"""The actors of one run, seen from the driver."""

import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from distopt.errors import DistoptError
from distopt.launchers.ray import local_state
from distopt.launchers.ray.actors import Actors
from distopt.launchers.ray.evaluation import Evaluation, Lost
from distopt.launchers.ray.layout import layout
from distopt.launchers.ray.liveness import Attendance, Group, cause
from distopt.records import Interrupted, News, Watch
from distopt.runs.checkpoints import Due, wanted
from distopt.training.experiment import Experiment
from distopt.training.shapes import shapes
from distopt.trees import named
from distopt.windows import Planned

POLL_S = 0.2
REPLACEMENTS = 3  # of a worker in a row without a commit: after these, the next one would most likely die too


class Stopped(DistoptError):
    """The user interrupted the run before training began."""


class Crew:
    """The actors of one run, seen from the driver."""

    def __init__(self, ray: Any, experiment: Experiment, epoch: int = 0) -> None:
        self.checkpoint = experiment.start  # the last one
        self._epoch = epoch  # servers before this one
        self._ray = ray
        self._experiment = experiment
        self._timeout = experiment.config["launcher"]["timeout"]
        self._on_loss = experiment.config["launcher"]["on_worker_loss"]
        self._actors: Any = None
        self._workers: list[Any] = []
        self._server: Any = None
        self._evaluation: Any = None
        self._rows = self._events = self._version = 0
        self._replacements: dict[int, int] = {}  # of each worker since its last commit

    def start(self, watch: Watch, interrupted: Interrupted) -> None:
        """Create the actors, let all of them compile at the same time, and start the clock.

        Raises:
            ConfigError: the cluster lacks CPUs or GPUs.
            DistoptError: an actor did not come up in time.
            Stopped: the user interrupted.
        """
        experiment = self._experiment
        self._watch, self._interrupted = watch, interrupted
        self._due = Due(experiment.config["checkpoint"], self.checkpoint.update if self.checkpoint else 0)
        resources = self._ray.cluster_resources()
        self.layout = layout(experiment, resources.get("CPU", 0), resources.get("GPU", 0))
        self._actors = Actors(self._ray, experiment, self.layout)
        self._wait(self._actors.reserved(), "free places on the cluster")
        self._server = self._actors.server(self._epoch)
        self._workers = [self._actors.worker(hosted) for hosted in self.layout.hosted]
        goals = experiment.goals
        meanwhile = bool(goals) or wanted(experiment.config)  # needed during training
        self._evaluation = Evaluation(self._ray, self._actors, self._server, self._ask, goals, meanwhile)
        node = self._wait(self._server.call.remote("open"))
        watch.enter("compile")
        path, *_ = self._wait(
            [
                self._server.call.remote("prepare", shapes(experiment), local_state.layout(experiment)),
                *[worker.call.remote("prepare", self._server, self._epoch) for worker in self._workers],
            ]
        )
        center = self._workers[0].call.remote("initial")
        if isinstance(experiment.optimizer.worker.steps.until, Planned):
            speeds = self.checkpoint.numbers["speeds"] if self.checkpoint else self._speeds()
            experiment = self._experiment = experiment._replace(speeds=tuple(speeds))
        self._wait([worker.call.remote("attach", path, node, experiment.speeds) for worker in self._workers])
        watch.enter("train")  # the server's clock starts with this call: no commit may be later than training
        self._wait(self._server.call.remote("start", center, experiment.evaluate_every, self.checkpoint))
        if self.checkpoint and self.checkpoint.numbers["evaluated"] == self.checkpoint.update:
            self._evaluation.done = 1  # the server's first snapshot was evaluated before the checkpoint
        self._attendance = Attendance(self._ray, self._timeout)
        for worker, hosted in zip(self._workers, self.layout.hosted, strict=True):
            self._attendance.enter(Group(worker, hosted, ("train",)))

    def _speeds(self) -> tuple[float, ...]:
        """Let all workers compute at the same time, and return how fast each is relative to the fastest one."""
        step_s: dict[int, float] = {}
        for group in self._wait([worker.call.remote("pace") for worker in self._workers], "the workers' speeds"):
            step_s |= group
        least = min(step_s.values())
        return tuple(least / step_s[worker] for worker in sorted(step_s))

    def _wait(self, refs: Any, what: str = "the actors to start") -> Any:
        """Wait for results before training begins, at most `launcher.timeout` seconds or until an interrupt."""
        waited = 0.0
        many = refs if isinstance(refs, list) else [refs]
        from ray.exceptions import RayError

        while True:
            ready, pending = self._ray.wait(many, num_returns=len(many), timeout=POLL_S)
            try:
                values = [self._ray.get(ref) for ref in ready]
            except RayError as error:
                raise DistoptError(f"launcher: an actor failed: {cause(error)}") from None
            if not pending:
                return values if isinstance(refs, list) else values[0]
            waited += POLL_S
            if self._interrupted():
                raise Stopped("interrupted")
            if waited > self._timeout:
                raise DistoptError(f"launcher.timeout={self._timeout}: gave up waiting for {what}; see `ray status`")

    def _ask(self, actor: Any, method: str, *arguments: Any) -> Any:
        """Call a method that may be repeated, until its answer arrives.

        Raises:
            Lost: the actor is gone, or silent for `launcher.timeout` seconds.
        """
        from ray.exceptions import ActorUnavailableError, RayError

        deadline = time.monotonic() + self._timeout
        while True:
            try:
                return self._ray.get(actor.call.remote(method, *arguments), timeout=self._timeout)
            except ActorUnavailableError as error:  # an answer got lost
                if time.monotonic() > deadline:
                    raise Lost(cause(error)) from None
                time.sleep(POLL_S)
            except RayError as error:
                raise Lost(cause(error)) from None

    def train(self, interrupted: Interrupted) -> Generator[News, None, tuple[str, str | None]]:
        """Collect records until every worker has stopped; return status and reason."""
        failure = None
        try:
            while self._attendance.groups:
                for group, reason, own in self._attendance.look(POLL_S):
                    if problem := self._lose(group, reason, own):
                        failure = failure or problem
                        self._ask(self._server, "end", "failed", failure)
                if interrupted():
                    self._ask(self._server, "end", "interrupted", "stopped by a signal")
                yield self._news()
                if self._due(self._version):
                    yield self._take_checkpoint()
        except Lost as error:
            self._server = None  # this is the cause, whatever failures workers reported
            return "failed", f"the parameter server failed: {error}"
        return ("failed", failure) if failure else (self._ended or ("done", None))

    @property
    def lost(self) -> bool:
        """Return whether the server is gone."""
        return self._server is None

    def _take_checkpoint(self) -> News:
        told, checkpoint = self._ask(self._server, "checkpoint", self._rows, self._events)
        news = self._news(told)
        more = {
            "evaluated": self._evaluation.last,
            "seconds": self._watch.spent(),
            "speeds": list(self._experiment.speeds),
        }
        self.checkpoint = checkpoint._replace(numbers=checkpoint.numbers | more)
        self._due.taken(checkpoint.update)
        return news._replace(checkpoint=self.checkpoint)

    def _news(self, told: Any = None) -> News:
        told = told or self._ask(self._server, "news", self._rows, self._events)
        rows, events, snapshots, self._ended = told
        self._version = rows[-1]["update"] if rows else self._version
        self._rows += len(rows)
        self._events += len(events)
        for row in rows:
            self._replacements.pop(row["worker"], None)
        return News(rows, self._evaluation.follow(snapshots), events=events)

    def _lose(self, group: Group, reason: str, own: bool) -> str | None:
        """Apply `launcher.on_worker_loss` to a lost group; return why the run cannot continue, or None."""
        self._workers.remove(group.actor)
        leaves_work = self._ask(self._server, "lose", group.hosted, group.incarnation, reason)
        if not (own or leaves_work):
            return None
        if own or self._on_loss == "fail":
            return f"{group.name} failed: {reason}"
        if self._on_loss == "replace":
            return self._replace(group, reason)
        return None if self._attendance.groups else f"no worker is left: {group.name} failed: {reason}"

    def _replace(self, group: Group, reason: str) -> str | None:
        """Host the workers of a lost group in a new actor; return why the run cannot continue, or None."""
        again = min(self._replacements.get(worker, 0) for worker in group.hosted)
        if again >= REPLACEMENTS:
            return f"{group.name} failed {again + 1} times in a row: {reason}"
        self._replacements |= dict.fromkeys(group.hosted, again + 1)
        actor = self._actors.worker(group.hosted)
        incarnation = group.incarnation + 1
        call = ("replace", self._server, self._epoch, incarnation, self._experiment.speeds)
        self._workers.append(actor)
        self._attendance.enter(Group(actor, group.hosted, call, incarnation))
        return None

    def evaluate(self) -> Generator[News, None, None]:
        """Evaluate the snapshots that are left; none if the server was lost before.

        Raises:
            Lost: no actor can evaluate, or the server is lost meanwhile.
        """
        if self._server is not None:
            yield from self._evaluation.finish(self._workers)

    def center(self) -> dict[str, Any] | None:
        """Return the final center by name; None if it was lost with the server."""
        if self._server is None:
            return None
        try:
            index = self._ask(self._server, "close") - 1
            return named(self._ask(self._server, "snapshot", index)[1])
        except Lost:
            return None

    def details(self) -> dict[str, Any]:
        """Return what `run.json` says about the actors that are alive."""
        told = []
        for actor in (*self._workers, *([self._server] if self._server is not None else [])):
            with suppress(Lost):
                told.append(self._ask(actor, "describe"))
        actors = [found for found in told if "workers" in found]
        server = [found for found in told if "workers" not in found]
        details = {
            **(server[0] if server else {}),
            "actors": actors,
            "cpus_per_actor": self.layout.cpus,
            "gpus_per_actor": self.layout.gpus,
        }
        return details | ({"speeds": list(self._experiment.speeds)} if self._experiment.speeds else {})

    def dismiss(self) -> None:
        """End every actor and free their places."""
        evaluator = self._evaluation.actor if self._evaluation else None
        for actor in [*self._workers, evaluator, self._server]:
            if actor is not None:
                self._ray.kill(actor)
        if self._actors is not None:
            self._actors.free()
