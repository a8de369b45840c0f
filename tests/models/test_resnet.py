"""The residual network: its size and shapes, what its blocks begin as, and that it learns in every engine."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distopt
from distopt import models
from distopt.errors import ConfigError
from distopt.models.resnet import NORMS, Block
from distopt.tasks import Task
from tests.launchers.test_replay import center
from tests.marks import slow


def build(shape: tuple[int, ...] = (8, 8), classes: int = 5, kind: Any = "classes", **settings: Any) -> Task:
    defaults = {"name": "resnet", "blocks": [1, 1], "width": 4, "norm": "group"}
    return models.build(defaults | settings, shape, classes, kind)


@pytest.mark.parametrize("norm", NORMS)
def test_twenty_layers_have_as_many_parameters_as_in_the_paper(norm: str) -> None:
    task = build((32, 32, 3), 10, blocks=[3, 3, 3], width=16, norm=norm)
    params, state = jax.eval_shape(task.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 269_722  # 0.27 million, table 6
    assert bool(state) == (norm == "batch")


@pytest.mark.parametrize(("shape", "kind"), [((9, 11), "classes"), ((8, 12, 3), "classes"), ((8, 8, 2), "numbers")])
@pytest.mark.parametrize("norm", NORMS)
def test_images_of_any_size_have_an_output_per_class(shape: tuple[int, ...], kind: str, norm: str) -> None:
    task = build(shape, 1 if kind == "numbers" else 5, kind, norm=norm, blocks=[1, 1, 1, 1, 1])
    params, state = jax.eval_shape(task.init, jax.random.key(0))
    outputs, after = jax.eval_shape(task.forward, params, state, (jnp.zeros((3, *shape)),), jax.random.key(0))
    assert outputs.shape == (3, 1 if kind == "numbers" else 5)
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize(("features", "stride"), [(8, 1), (16, 2)])
def test_blocks_begin_as_their_shortcuts(features: int, stride: int) -> None:
    x = jax.random.uniform(jax.random.key(0), (2, 5, 5, 8))
    block = Block(features, stride, "group")
    y, _ = jax.jit(lambda key: block.init_with_output(key, x, train=False))(jax.random.key(1))
    np.testing.assert_array_equal(y[..., :8], x[:, ::stride, ::stride])
    np.testing.assert_array_equal(y[..., 8:], 0)


def test_large_images_are_evaluated_in_small_numbers() -> None:
    assert build((8, 8)).at_once == 2000
    assert build((224, 224, 3), width=64).at_once == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"blocks": []}, r"model.blocks=\[\] must be a list of whole numbers > 0"),
        ({"blocks": [1, 0]}, "model.blocks="),
        ({"blocks": 3}, "model.blocks=3 must be a list"),
        ({"width": 0}, "model.width=0 must be a whole number > 0"),
        ({"norm": "layer"}, "model.norm=layer must be one of group, batch"),
        ({"shape": (64,)}, "model=mlp"),
        ({"shape": (8, 7, 3)}, "at least 8x8"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build(**settings)


RUN = ["model=resnet", "model.width=8", "workers=3", "local.learning_rate=0.01", "evaluate.points=2"]


def test_it_learns_the_digits(tmp_path: Path) -> None:
    run = distopt.run([*RUN, "launcher=sim", "optimizer=averaging", "epochs=12", f"output={tmp_path}"])
    assert run.evals["accuracy"].iloc[-1] > 0.9


@pytest.mark.parametrize("norm", [slow(norm) for norm in NORMS])
def test_both_engines_and_a_replay_agree(tmp_path: Path, norm: str) -> None:
    overrides = [*RUN, "epochs=2", f"model.norm={norm}", "optimizer=adag", f"output={tmp_path}"]
    one, other = (distopt.run([*overrides, "launcher=sim", f"launcher.width={width}"]) for width in (1, 3))
    np.testing.assert_allclose(other.evals["loss"], one.evals["loss"], rtol=1e-2)
    again = distopt.run([*overrides, "launcher=replay", f"launcher.trace={one.folder}"])
    assert center(again) == center(one)
    np.testing.assert_array_equal(again.evals["loss"].iloc[-2:], one.evals["loss"].iloc[-2:])
