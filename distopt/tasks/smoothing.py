"""Label smoothing: what workers minimize also asks for some probability of every other class or token."""

import jax
import jax.numpy as jnp

from distopt.tasks import Batch, Outputs, Sums, Task

OBJECTIVE = "smoothed"


def smoothed(task: Task, share: float) -> Task:
    """Return a task of classes or tokens whose workers minimize −(1 − ε) log p_y − (ε / V) Σ_v log p_v.

    What is measured stays as it is.

    Source: C. Szegedy et al., "Rethinking the Inception Architecture", 2016 (arXiv:1512.00567), section 7.

    Args:
        task: with logits over V classes as outputs, the last axis, and batches `(x, y)`, `(blocks,)` or `(blocks,
            weights)`.
        share: ε, 0 < ε < 1.
    """
    names = task.sums or tuple(metric.name for metric in task.metrics)

    def measure(outputs: Outputs, batch: Batch) -> Sums:
        sums = task.measure(outputs, batch)
        total, weight = sums[task.objective]
        uniform = -jnp.mean(jax.nn.log_softmax(outputs), axis=-1)
        if outputs.ndim == 3 and len(batch) > 1:  # documents, in which not all predictions count
            uniform = uniform * batch[1]
        return {**sums, OBJECTIVE: ((1 - share) * total + share * jnp.sum(uniform), weight)}

    return task._replace(measure=measure, sums=(*names, OBJECTIVE), objective=OBJECTIVE)
