"""Floating-point operations of a local step, and the rate of the device in matrix products."""

import math
import statistics
import time
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from distopt.training.experiment import Experiment
from distopt.training.program_cache import shared

SIZE, REPEATS = 768, 7  # of the matrices that are multiplied, and how often


def step_flops(experiment: Experiment) -> int:
    """Return the operations in matrix products and convolutions of one local step: the gradient of one batch.

    A product (m, k) × (k, n) counts 2 m k n. What else a step does is left out, as it is bound by memory; so a model
    without matrix products has 0.
    """
    name = f"flops of a batch of {experiment.batch_size}"
    return int(shared(experiment, name, lambda: (_traced(experiment),), on=experiment.model)[0])


def _traced(experiment: Experiment) -> int:
    task, data = experiment.model, experiment.dataset

    def arguments() -> Any:
        key = jax.random.key(0)
        shapes = [(experiment.batch_size, *leaf.shape[1:]) for leaf in jax.tree.leaves(train)]
        leaves = [jnp.zeros(shape, leaf.dtype) for shape, leaf in zip(shapes, jax.tree.leaves(train), strict=True)]
        return *task.init(key), jax.tree.unflatten(jax.tree.structure(train), leaves), key

    train = data.train if data else ()
    like = jax.eval_shape(arguments)  # no array is made: nothing may compute before the launcher has begun
    gradient = jax.value_and_grad(task.loss, has_aux=True)
    return _count(jax.make_jaxpr(gradient)(*like).jaxpr)


def _count(jaxpr: Any) -> int:
    """Return the operations of a traced function, with those of the functions that it calls."""
    total = 0
    for equation in jaxpr.eqns:
        times = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        total += times * sum(map(_count, jaxprs_in_params(equation.params)))
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(left[i] for i in contracted)
        elif equation.primitive.name == "conv_general_dilated":
            kernel, layout = equation.invars[1].aval.shape, equation.params["dimension_numbers"].rhs_spec
            total += 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) // kernel[layout[0]]
    return total


@cache
def product_rate() -> float:
    """Return the operations per second of this process in products of float32 matrices, measured once."""
    a = jnp.ones((SIZE, SIZE), jnp.float32)
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        product(a).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * SIZE**3 / statistics.median(seconds)
