"""Distillation: a student minimizes how far it is from a teacher, and from the labels.

    classes:  α T² KL(p ‖ q) + (1 − α) CE,      p = mean over teachers of softmax(z / T),  q = softmax(f / T)
    numbers:  α (m − f)² / 2 + (1 − α) (y − f)² / 2,            m = mean over teachers of z

f are the student's outputs, z a teacher's. T² makes up for the gradients of softened classes, which are smaller by
1/T². A teacher's outputs are data: every batch ends with what it says of its samples, `(x, y, taught)`, log p or m.
The metrics of the task stay as they are. One joins them: `agreement`, the share of samples on which student and teacher
(by p) choose the same class, or `disagreement`, the root of the mean of (m − f)².

Source: G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531,
section 2. The mean of several teachers is that of their probabilities at T.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distopt.records import Kind, Metric
from distopt.rules import Params
from distopt.tasks import Batch, Key, ModelState, Outputs, Sums, Task, classes

OBJECTIVE = "distillation"


class Lesson(NamedTuple):
    """What a teacher says of one kind of data, and how far a student is from it."""

    teach: Callable[[jax.Array, float], jax.Array]  # of outputs with a leading axis of teachers, and T
    miss: Callable[[jax.Array, jax.Array, float], jax.Array]  # of outputs, what is taught and T; shape (batch,)
    compare: Callable[[jax.Array, jax.Array], jax.Array]  # of outputs and what is taught; shape (batch,)
    metric: Metric
    finish: Callable[[Any, Any], Any]  # the metric of the mean of `compare`, with the functions of NumPy or JAX


def soften(logits: jax.Array, temperature: float) -> jax.Array:
    """Return log p, shape (batch, classes), of logits of shape (teachers, batch, classes)."""
    return classes.mean_probabilities(logits / temperature)


def divergence(logits: jax.Array, taught: jax.Array, temperature: float) -> jax.Array:
    """Return T² KL(p ‖ q) of each sample, given the student's logits and log p."""
    q = jax.nn.log_softmax(logits / temperature)
    return temperature**2 * jnp.sum(jnp.exp(taught) * (taught - q), axis=-1)


LESSONS: dict[Kind, Lesson] = {
    "classes": Lesson(
        soften,
        divergence,
        lambda f, taught: jnp.argmax(f, axis=-1) == jnp.argmax(taught, axis=-1),
        Metric("agreement", "higher"),
        lambda mean, xp: mean,
    ),
    "numbers": Lesson(
        lambda z, temperature: jnp.mean(z, axis=0)[:, 0],
        lambda f, taught, temperature: (taught - f[:, 0]) ** 2 / 2,
        lambda f, taught: (taught - f[:, 0]) ** 2,
        Metric("disagreement"),
        lambda mean, xp: xp.sqrt(mean),
    ),
}


def distilled(settings: Mapping[str, Any], task: Task, kind: Kind) -> Task:
    """Return the task of a student, whose batches end with what a teacher says of their samples.

    Args:
        settings: `temperature`, T > 0, and `share`, α in [0, 1].
        task: to be learnt from the labels; its metrics stay.
        kind: of the data, one of `LESSONS`.
    """
    temperature, share = float(settings["temperature"]), float(settings["share"])
    lesson = LESSONS[kind]
    told = lesson.metric.name

    def forward(params: Params, state: ModelState, batch: Batch, key: Key) -> tuple[Outputs, ModelState]:
        return task.forward(params, state, batch[:-1], key)

    def measure(outputs: Outputs, batch: Batch) -> Sums:
        *own, taught = batch
        sums = task.measure(outputs, tuple(own))
        total, weight = sums[task.objective]
        miss = weight * jnp.mean(lesson.miss(outputs, taught, temperature))
        alike = jnp.sum(lesson.compare(outputs, taught), dtype=jnp.float32)
        return {
            **sums,
            OBJECTIVE: (share * miss + (1 - share) * total, weight),
            told: (alike, jnp.float32(len(taught))),
        }

    def finish(sums: Mapping[str, tuple[Any, Any]], xp: Any) -> dict[str, Any]:
        alike, weight = sums[told]
        return task.finish(sums, xp) | {told: lesson.finish(alike / weight, xp)}

    def refresh(params: Params, state: ModelState, batch: Batch) -> ModelState:
        assert task.refresh is not None
        return task.refresh(params, state, batch[:-1])

    return task._replace(
        forward=forward,
        measure=measure,
        metrics=(*task.metrics, lesson.metric),
        finish=finish,
        sums=(*(task.sums or (metric.name for metric in task.metrics)), OBJECTIVE, told),
        refresh=refresh if task.refresh else None,
        objective=OBJECTIVE,
    )
