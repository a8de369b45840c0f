"""The actor of the parameter server, called in this process: what is kept of workers, and when training is over."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import jax
import numpy as np
import pytest

from distopt.config import compose, validate
from distopt.launchers.ray import local_state
from distopt.launchers.ray.server_actor import Ack, ParameterServer
from distopt.training.experiment import build
from distopt.training.messages import Delivery
from distopt.training.shapes import shapes
from distopt.training.worker_programs import Replica

TASK = ("launcher=ray", "model=logistic", "workers=4", "epochs=4", "optimizer.window=1", "batch_size=32")


class Served:
    """A server, and what workers on other nodes send it."""

    def __init__(self, *overrides: str) -> None:
        self.experiment = build(validate(compose([*TASK, *overrides])))
        self.server = ParameterServer(self.experiment.config, 4, self.experiment.budget.tolist())
        self.server.prepare(shapes(self.experiment), local_state.layout(self.experiment))
        self.server.start(jax.tree.map(np.asarray, Replica(self.experiment).params), evaluate_every=1000)

    def commit(
        self, worker: int, sequence: int, *, last: bool = False, value: float = 0.001
    ) -> Coroutine[Any, Any, Ack]:
        """A commit of one number, that comes with a state of others."""
        like = shapes(self.experiment).message
        message = jax.tree.map(lambda leaf: np.full(leaf.shape, value, leaf.dtype), like)
        head = Delivery(worker, sequence, None, 1, 32, {"loss": 1.0}, 0.0, 0.0, 0, last)
        kept = np.full(self.server._keepsakes._wire.buffer_bytes, sequence, np.uint8)
        return self.server.exchange(head, self.server._up.pack(message), kept)

    @property
    def ended(self) -> tuple[str, str | None] | None:
        """Status and reason, once training has ended."""
        return self.server.news(0, 0)[3]


def test_the_state_of_a_refused_commit_is_not_kept_however_often_it_comes() -> None:
    async def scene() -> None:
        served = Served("optimizer=downpour", "launcher.on_worker_loss=replace", "on_bad_commit=restart")
        await served.commit(0, 1)
        for _ in range(2):
            assert (await served.commit(0, 2, value=np.nan)).refused
        served.server.lose([0], 0, "gone")
        start = await served.server.go_on(0, -1, 1, 0)
        assert start is not None
        assert start.kept is None
        await served.commit(1, 1)
        served.server.lose([1], 0, "gone")
        start = await served.server.go_on(1, -1, 1, 0)
        assert start is not None
        assert start.kept is not None
        assert (start.kept == 1).all()

    asyncio.run(scene())


async def whose_first_worker_is_done() -> Served:
    """Return a server after the first update of three of its four workers, of which one had no more to do."""
    served = Served("optimizer=backup", "optimizer.backups=1", "launcher.on_worker_loss=continue")
    await asyncio.gather(served.commit(0, 1, last=True), served.commit(1, 1), served.commit(2, 1))
    served.server._members.places[0] = served.server._members.places[0]._replace(end=1)
    return served


def test_who_was_done_takes_over_what_the_others_need_for_a_whole_quorum() -> None:
    async def scene() -> None:
        served = await whose_first_worker_is_done()
        served.server.lose([1], 0, "gone")
        await served.commit(3, 1)  # late: it is dropped, and two workers are left
        assert served.ended is None
        start = await served.server.go_on(0, 1, 0, 0)
        assert start is not None
        assert start.place.owner == 1
        await asyncio.gather(*[served.commit(worker, 2, last=worker == 0) for worker in (0, 2, 3)])
        assert served.server._server.version == 2

    asyncio.run(scene())


def test_nobody_waits_for_workers_that_were_done_and_are_gone() -> None:
    async def scene() -> None:
        served = await whose_first_worker_is_done()
        await served.commit(3, 1)
        served.server.lose([0, 1], 0, "they were on one machine")
        await asyncio.wait_for(asyncio.gather(served.commit(2, 2), served.commit(3, 2)), timeout=60)
        assert served.ended is None

    asyncio.run(scene())


@pytest.mark.parametrize(("value", "status"), [(0.001, "done"), (np.nan, "diverged")])
def test_training_ends_with_the_last_whole_quorum_and_says_how(value: float, status: str) -> None:
    async def scene() -> None:
        served = Served("optimizer=backup", "optimizer.backups=1")
        commits = [served.commit(0, 1, last=True), served.commit(1, 1, last=True), served.commit(2, 1, value=value)]
        assert all(ack.stop for ack in await asyncio.gather(*commits))
        assert (await served.commit(3, 1)).stop
        assert served.ended is not None
        assert served.ended[0] == status

    asyncio.run(scene())
