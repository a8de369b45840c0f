"""Operations of a local step, counted by hand."""

import jax

from distopt.config import compose, validate
from distopt.training import experiment as experiments
from distopt.training.flops import product_rate, step_flops


def counted(*overrides: str) -> int:
    return step_flops(experiments.build(validate(compose(list(overrides)))))


def test_layers_count_once_forward_and_twice_backward() -> None:
    """The gradient of inputs is not needed in the first layer."""
    b, x, h, c = 32, 64, 48, 10
    assert counted("model=mlp", "model.hidden=[48]") == 2 * b * (2 * x * h + 3 * h * c)
    assert counted("model=logistic", "batch_size=7") == 2 * 7 * 2 * x * c


def test_scanned_layers_count_as_often_as_they_run() -> None:
    text = ["model=gpt", "dataset=pydoc", "batch_size=2", "dataset.context=16", "model.width=16", "model.heads=2"]
    six, seven, eight = (counted(*text, f"model.layers={layers}") for layers in (6, 7, 8))
    assert seven - six == eight - seven
    layer = 12 * 16 * 16 * 2 * 16 * 2  # twelve products of weights, for 2 · 16 tokens
    attention = 2 * 2 * 16 * 16 * 16 * 2
    last = 4 * 16 * 16 * 2 * 16 * 2  # whose outputs the backward pass does not need
    assert seven - six == 4 * (layer + attention) - last  # forward, forward once more, twice backward


def test_functions_without_products_have_none() -> None:
    assert counted("model=booth", "dataset=none", "steps=3") == 0


def test_the_rate_is_measured_once() -> None:
    assert product_rate() == product_rate() > 1e8


def test_counting_makes_no_array() -> None:
    before = len(jax.live_arrays())
    counted("model=mlp", "model.hidden=[17]")
    assert len(jax.live_arrays()) == before
