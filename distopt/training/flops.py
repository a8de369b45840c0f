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
from distopt.training.teacher import batch_shapes

SIZE, REPEATS = 768, 7  # of the matrices that are multiplied, and how often


def step_flops(experiment: Experiment) -> int:
    """Return the operations in matrix products and convolutions of one local step: the gradient of one batch.

    A product (m, k) × (k, n) counts 2 m k n. What else a step does is left out, as it is bound by memory; so a model
    without matrix products has 0.
    """
    name = f"flops of a batch of {experiment.batch_size}"
    return int(shared(experiment, name, lambda: (_traced(experiment),), on=experiment.model)[0])


def _traced(experiment: Experiment) -> int:
    task = experiment.model

    # No array is made: nothing may compute before the launcher has begun.
    key = jax.eval_shape(lambda: jax.random.key(0))
    like = *jax.eval_shape(task.init, key), batch_shapes(experiment.dataset, experiment.batch_size), key
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
