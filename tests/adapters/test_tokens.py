"""Texts with every framework: the same bigram table, whose loss NumPy knows."""

from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

from distopt.adapters.equinox import equinox_task
from distopt.adapters.linen import linen_task
from distopt.adapters.nnx import nnx_task
from distopt.adapters.plain import plain_task
from distopt.tasks import Task, tokens

BLOCKS = np.random.default_rng(0).integers(256, size=(8, 17), dtype=np.uint8)


class Linen(nn.Module):
    """Without dropout or norm a linen module needs no `train`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Embed(256, 256)(x)


class Equinox(eqx.Module):
    table: eqx.nn.Embedding

    def __call__(self, x: jax.Array) -> jax.Array:
        return jax.vmap(self.table)(x)


def equinox(key: jax.Array) -> Equinox:
    return Equinox(eqx.nn.Embedding(256, 256, key=key))


def draw(key: jax.Array) -> Any:
    return {"table": jax.random.normal(key, (256, 256))}


TASKS = {
    "linen": linen_task(Linen(), (16,), "tokens"),
    "nnx": nnx_task(lambda rngs: nnx.Embed(256, 256, rngs=rngs), (16,), "tokens"),
    "equinox": equinox_task(equinox, (16,), "tokens"),
    "plain": plain_task(draw, lambda params, x: params["table"][x], (16,), "tokens"),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_bigram_table_is_measured_as_by_numpy_and_writes(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    params, state = task.init(jax.random.key(0))
    (table,) = (np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(params))
    expected = np.log(np.exp(table).sum(axis=1))[BLOCKS[:, :-1]] - table[BLOCKS[:, :-1], BLOCKS[:, 1:]]
    for key in (None, jax.random.key(1)):
        loss, (_, sums) = task.loss(params, state, (BLOCKS,), key)
        assert float(loss) == pytest.approx(expected.mean(), rel=1e-5)
        assert float(sums["loss"][1]) == 8 * 16
    assert [metric.name for metric in task.metrics] == ["bits_per_byte", "loss", "perplexity"]
    assert task.at_once * 16 == tokens.AT_ONCE
    monkeypatch.setattr(tokens, "WRITTEN", 20)
    assert task.show is not None
    assert task.show(params, state, jax.random.key(0))
