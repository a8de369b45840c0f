"""Models of other packages, named by `module:factory`."""

from pathlib import Path

import jax
import pytest

from distopt import models
from distopt.errors import ConfigError

SOURCE = """
import jax.numpy as jnp
from distopt.records import LOSS
from distopt.tasks import Task

def constant(*, shape, classes, value):
    def forward(params, state, batch, key):
        return params["x"] * 0 + value, state
    def measure(outputs, batch):
        return {"loss": (outputs, jnp.float32(1)), "classes": (jnp.float32(classes), jnp.float32(1))}
    return Task(lambda key: ({"x": jnp.zeros(())}, {}), forward, measure, (LOSS,), sums=("loss", "classes"))
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "somebodys_models.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_factory_elsewhere_gets_shape_classes_and_its_settings() -> None:
    model = models.build({"name": "somebodys_models:constant", "value": 3.0}, (8, 8), 10)
    params, state = model.init(jax.random.key(0))
    loss, (_, sums) = model.loss(params, state, (), None)
    assert (float(loss), float(sums["classes"][0])) == (3, 10)


@pytest.mark.parametrize("name", ["somebodys_models:other", "nobodys_models:constant", ":x", "x:"])
def test_what_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match=r"model.name=.*PYTHONPATH"):
        models.build({"name": name}, (8, 8), 10)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="value"):
        models.build({"name": "somebodys_models:constant"}, (8, 8), 10)
