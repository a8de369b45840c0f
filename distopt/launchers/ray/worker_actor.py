"""The worker actor: one or several workers as threads of one process, sharing device, data and compiled programs."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from distopt.datasets import Dataset
from distopt.launchers.ray import local_state
from distopt.launchers.ray.link import Link
from distopt.launchers.ray.membership import Place, Start
from distopt.launchers.ray.server_actor import Ack
from distopt.launchers.ray.shared_memory import Slots, Wire
from distopt.rules import Params
from distopt.runs.provenance import peak_memory
from distopt.training import experiment as experiments
from distopt.training.batches import Itinerary
from distopt.training.evaluation import Evaluator
from distopt.training.flops import product_rate
from distopt.training.messages import Delivery
from distopt.training.shapes import shapes
from distopt.training.worker import Flight, Position
from distopt.training.worker_programs import Replica
from distopt.trees import tree_bytes
from distopt.windows import WhenFree

PACED = 5  # windows by which a worker's speed is measured
MANY = 1_000_000  # more than there are workers, so that every process has a number of its own


class Ended(Exception):
    """The server says that training has ended."""


class WorkerGroup:
    """Hosts some of an experiment's workers as threads. JAX releases the interpreter lock while it computes."""

    def __init__(self, config: Mapping[str, Any], data: Dataset | None, workers: list[int]) -> None:
        (self._experiment,) = experiments.taught([experiments.build(config, data)])
        self._rule = self._experiment.optimizer.worker
        self._workers = workers
        self._failed = threading.Event()
        self._training: asyncio.Future[list[Any]] | None = None

        self._replica = Replica(self._experiment)
        layout = shapes(self._experiment)
        self._up, self._down, self._center = Wire(layout.message), Wire(layout.reply), Wire(layout.center)
        self._params, self._kept = Wire(layout.params), Wire(local_state.layout(self._experiment))
        self._slots: Slots | None = None
        self._questions: dict[int, Any] = {}  # open calls of `free`, by workers that are not on the server's node
        self._evaluator: Evaluator | None = None

    def prepare(self, server: Any, epoch: int = 0, incarnation: int = 0) -> None:
        """Connect to the server, and compile every program, so that no window has to."""
        chaos = self._experiment.config["launcher"]["chaos"]
        self._link = Link(server, chaos, self._workers[0] + MANY * incarnation)
        self._sender = (incarnation, epoch)
        self._replica.warm_up()

    def initial(self) -> Params:
        """Return the initial center."""
        return jax.tree.map(np.asarray, self._replica.params)

    async def pace(self) -> dict[int, float]:
        """Return each hosted worker's seconds per local step, measured while all of them compute."""
        return dict(zip(self._workers, await self._each(self._step_s), strict=True))

    def _step_s(self, worker: int) -> float:
        """Take a window several times, adopt nothing, and return the median seconds of a step."""
        batches, seconds = Itinerary(self._experiment, worker).next(), []
        for _ in range(PACED):
            began = time.perf_counter()
            jax.block_until_ready(self._replica.fly(self._replica.begin(), batches))
            seconds.append(time.perf_counter() - began)
        return float(np.median(seconds)) / int(batches.steps)

    def attach(self, path: str, server_node: str, speeds: tuple[float, ...]) -> None:
        """Set the workers' speeds; open the slots if the server is on this node, else messages travel by value."""
        import ray

        self._experiment = self._experiment._replace(speeds=speeds)
        if ray.get_runtime_context().get_node_id() == server_node:
            sizes = [wire.buffer_bytes for wire in (self._up, self._down, self._center, self._kept)]
            self._slots = Slots(path, self._experiment.workers, *sizes)

    async def train(self) -> None:
        """Run all hosted workers to the end of training; raises what the first failing one raised.

        A repeated call, made because the answer to the first one got lost, waits for the same end.
        """
        self._training = self._training or asyncio.ensure_future(self._each(self._work))
        await asyncio.shield(self._training)

    async def replace(self, server: Any, epoch: int, incarnation: int, speeds: tuple[float, ...]) -> None:
        """Prepare and train in place of a lost actor; messages travel by value, as slots can no longer be opened."""
        if self._training is None:
            self._experiment = self._experiment._replace(speeds=speeds)
            self.prepare(server, epoch, incarnation)
        await self.train()

    def ping(self) -> tuple[str, int]:
        """Return node and process id; the answer shows that the actor is alive."""
        import ray

        return ray.get_runtime_context().get_node_id(), os.getpid()

    async def _each(self, task: Callable[[int], Any]) -> list[Any]:
        """Call a function for every hosted worker, each in a thread of its own."""
        loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(len(self._workers), thread_name_prefix="worker")
        try:
            return await asyncio.gather(*[loop.run_in_executor(pool, task, worker) for worker in self._workers])
        finally:
            pool.shutdown(wait=False)  # after a failure, the others may wait for the failed one's commit

    def _work(self, worker: int) -> None:
        """Run one worker: train from one start to the next, until there is none."""
        try:
            position, waited_s = self._replica.begin(), 0.0
            start: Start | None = Start(0, Place(worker, 0, int(self._experiment.budget[worker])))
            if any(self._sender) or (worker and self._experiment.optimizer.synchrony.start_after):
                start, waited_s = self._go_on(worker, -1)
            while start is not None:
                if start.center is not None:
                    kept = None if start.kept is None else self._kept.read(start.kept)
                    position = self._replica.begin(jax.device_put(start.center), kept)
                position, sequence = self._train(worker, position, start, waited_s)
                start = None
                if self._experiment.config["launcher"]["on_worker_loss"] == "continue" and not self._failed.is_set():
                    start, waited_s = self._go_on(worker, sequence)
        except Ended:
            pass
        except BaseException:
            self._failed.set()
            raise

    def _go_on(self, worker: int, sequence: int) -> tuple[Start | None, float]:
        """Ask the server where to continue, and return the answer and the seconds waited for it."""
        asked = time.perf_counter()
        return self._link("go_on", worker, sequence, *self._sender), time.perf_counter() - asked

    def _train(self, worker: int, position: Position, start: Start, waited_s: float) -> tuple[Position, int]:
        """Compute windows, exchange and adopt, until the budget is used up or one window taken over is done."""
        place, sequence, exchange_s = start.place, start.sequence, waited_s
        itinerary, rule = Itinerary(self._experiment, place.owner, place.first_step, sequence), self._rule
        last = place.steps <= 0
        while not (last or self._failed.is_set()):
            began = time.perf_counter()
            flight = self._fly(worker, position, itinerary, place.steps if place.taken else 0)
            measured = {name: float(value) for name, value in flight.measured.items()}  # waits for the window
            computed = time.perf_counter()
            sequence += 1
            if rule.pull:
                flight = self._pull(worker, sequence, flight)
            steps, last = itinerary.last, place.taken or itinerary.remaining <= 0
            samples = steps * self._experiment.batch_size if self._experiment.dataset else 0
            head = Delivery(
                worker, sequence, None, steps, samples, measured, computed - began, exchange_s,
                self._up.payload_bytes, last, jax.device_get(self._replica.columns(flight)),
                incarnation=self._sender[0], epoch=self._sender[1],
            )  # fmt: skip
            position = self._exchange(head, flight)
            exchange_s = time.perf_counter() - computed
        return position, sequence

    def _fly(self, worker: int, position: Position, itinerary: Itinerary, steps: int) -> Flight:
        """Compute a worker's next window, which may end before all its steps are taken."""
        batches = itinerary.next(steps)
        if not isinstance(self._rule.steps.until, WhenFree):
            flight = self._replica.fly(position, batches)
            if flight.ended is not None:
                itinerary.stop(int(flight.window.steps))
            return flight
        progress = self._replica.depart(position)
        for steps in range(1, itinerary.last + 1):
            progress = self._replica.step(position, progress, batches._replace(steps=np.int32(steps)))
            jax.block_until_ready(progress.loss)
            if self._free(worker):
                break
        itinerary.stop(steps)
        return self._replica.arrive(position, progress, batches)

    def _free(self, worker: int) -> bool:
        """Return whether no commit waits at the server; from another node, False until the server has said so."""
        if self._slots:
            return not self._slots.busy.any()
        import ray
        from ray.exceptions import ActorUnavailableError

        question = self._questions.pop(worker, None) or self._link.server.call.remote("free")
        if not ray.wait([question], timeout=0)[0]:
            self._questions[worker] = question
            return False
        try:
            return ray.get(question)
        except ActorUnavailableError:
            return False

    def _pull(self, worker: int, sequence: int, flight: Flight) -> Flight:
        """Fetch the center and make the commit that waited for it."""
        ack = self._ask("pull", worker, sequence, self._slots is None, *self._sender)
        buffer = self._slots.center(worker, sequence) if self._slots else ack.payload
        assert buffer is not None, "by value a pull is answered by value"
        return self._replica.commit(flight, jax.device_put(self._center.read(buffer)))

    def _exchange(self, head: Delivery, flight: Flight) -> Position:
        """Send a commit until its outcome is known, and return the position after it."""
        payload, kept = None, self._keep(head, flight)
        try:
            if self._slots:
                self._up.write(flight.message, self._slots.up(head.worker))
                self._slots.busy[head.worker] = 1
            else:
                payload = self._up.pack(flight.message)
        except ValueError as error:
            head = head._replace(flaw=str(error))
        ack = self._ask("exchange", head, payload, kept)
        if ack.refused:
            assert ack.payload is not None, "a refusal brings the center"
            return self._replica.start_over(jax.device_put(self._params.read(ack.payload)), flight)
        if not self._experiment.optimizer.synchrony.answered(head.sequence):
            return self._replica.stay(flight)
        buffer = self._slots.down(head.worker, head.sequence) if self._slots else ack.payload
        assert buffer is not None, "a commit by value is answered by value"
        return self._replica.land(jax.device_put(self._down.read(buffer)), flight)

    def _keep(self, head: Delivery, flight: Flight) -> np.ndarray | None:
        """Hand the server the local state for the worker's next start; return it if it travels by value."""
        if not self._kept.payload_bytes:
            return None
        if self._slots is None:
            return self._kept.pack(flight.kept)
        self._kept.write(flight.kept, self._slots.kept(head.worker, head.sequence))
        return None

    def _ask(self, method: str, *arguments: Any) -> Ack:
        """Call the server; raises Ended if training has ended."""
        ack: Ack = self._link(method, *arguments)
        if ack.stop:
            raise Ended
        return ack

    def evaluate(self, snapshot: tuple[dict[str, Any], Params]) -> list[dict[str, Any]]:
        """Return the rows of one evaluation."""
        self._evaluator = self._evaluator or Evaluator(self._experiment, self._replica.model_state)
        head, center = snapshot
        return self._evaluator(jax.device_put(center), **head)

    def describe(self) -> dict[str, Any]:
        """Return where and on what this actor runs."""
        import ray

        return {
            "workers": self._workers,
            "node": ray.get_runtime_context().get_node_id(),
            "pid": os.getpid(),
            "device": jax.devices()[0].device_kind,
            "threads": int(os.environ.get("PJRT_NPROC", "0")),
            "product_flops_per_s": product_rate(),
            "shared_memory": self._slots is not None,
            "peak_memory_bytes": peak_memory(),
            **self._link.describe(),
            "replica_bytes": tree_bytes(self._replica.params),
        }
