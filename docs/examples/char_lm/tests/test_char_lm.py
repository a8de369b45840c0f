"""The tests of a package with a model: what it must not do, and that it learns."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest
from char_lm import char_lm

import distopt
from distopt.config import compose
from distopt.tasks import Task

BLOCKS = np.random.default_rng(0).integers(256, size=(4, 17), dtype=np.uint8)  # of 16 bytes and the one after them
CONF = Path(__file__).parents[1] / "char_lm" / "conf"


def build(dropout: float = 0.0) -> Task:
    return char_lm(shape=(16,), classes=256, kind="tokens", width=32, dropout=dropout)


def test_the_first_loss_is_that_of_guessing() -> None:
    task = build()
    loss, _ = task.loss(*task.init(jax.random.key(0)), (BLOCKS,), None)
    assert abs(float(loss) - math.log(256)) < 0.15


def test_it_does_not_look_at_what_it_has_to_predict() -> None:
    task = build()
    params, state = task.init(jax.random.key(0))
    changed = BLOCKS.copy()
    changed[:, 10:] += 1
    one, other = (task.forward(params, state, (blocks,), None)[0] for blocks in (BLOCKS, changed))
    np.testing.assert_array_equal(one[:, :10], other[:, :10])
    assert not np.array_equal(one[:, 10:], other[:, 10:])


def test_it_drops_in_training_only() -> None:
    task = build(dropout=0.5)
    params, state = task.init(jax.random.key(0))
    one, other = (task.forward(params, state, (BLOCKS,), jax.random.key(seed))[0] for seed in (1, 2))
    assert not np.array_equal(one, other)
    evaluated = build().forward(params, state, (BLOCKS,), None)[0]
    np.testing.assert_array_equal(task.forward(params, state, (BLOCKS,), None)[0], evaluated)


def test_it_learns_a_text(tmp_path: Path) -> None:
    text = tmp_path / "owl.txt"
    text.write_text("The owl and the pussycat went to sea in a beautiful pea-green boat.\n" * 60)
    data = ["model.width=32", "dataset=text", f"dataset.file={text}", "dataset.context=16"]
    settings = ["experiment=three", "optimizer=averaging", "workers=2", "epochs=8", "local.learning_rate=0.02"]
    run = distopt.run(compose([*data, *settings, "evaluate.points=1", f"output={tmp_path}"], str(CONF)))
    bits = run.evals["bits_per_byte"]
    assert bits.iloc[0] > 7.8
    assert bits.iloc[-1] < 3


def test_settings_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ValueError, match="dropout"):
        build(dropout=1.0)
    with pytest.raises(ValueError, match="takes a text"):
        char_lm(shape=(8, 8), classes=10, kind="classes", width=32, dropout=0.0)
