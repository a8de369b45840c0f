"""What students minimize, against NumPy; what is measured of them stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distopt.records import Kind
from distopt.tasks import Task, classes, numbers
from distopt.tasks.distillation import LESSONS, distilled

RNG = np.random.default_rng(0)
BASE: dict[Kind, Task] = {
    "classes": Task(lambda key: ((), {}), lambda *_: ((), {}), classes.measure, classes.METRICS),
    "numbers": Task(
        lambda key: ((), {}), lambda *_: ((), {}), numbers.measure, numbers.METRICS, numbers.finish, numbers.SUMS
    ),
}


def student(kind: Kind, temperature: float = 4, share: float = 0.5) -> Task:
    return distilled({"temperature": temperature, "share": share}, BASE[kind], kind)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)


def logits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits of three teachers and of a student, and classes, of 7 samples."""
    return RNG.normal(size=(3, 7, 5)), RNG.normal(size=(7, 5)), RNG.integers(5, size=7)


@pytest.mark.parametrize(("temperature", "share"), [(4, 0.5), (1, 1.0), (2.5, 0.0)])
def test_a_share_of_the_divergence_from_the_mean_probabilities_is_minimized(temperature: float, share: float) -> None:
    z, f, y = logits()
    p, q = softmax(z / temperature).mean(axis=0), softmax(f / temperature)
    soft, hard = (p * np.log(p / q)).sum(), -np.log(softmax(f))[np.arange(7), y].sum()
    task, taught = student("classes", temperature, share), LESSONS["classes"].teach(jnp.array(z), temperature)
    np.testing.assert_allclose(np.exp(taught), p, rtol=1e-5)
    total, weight = task.measure(jnp.array(f), (None, jnp.array(y), taught))[task.objective]
    assert weight == 7
    assert float(total) == pytest.approx(share * temperature**2 * soft + (1 - share) * hard, rel=1e-4)


def test_numbers_are_between_those_of_the_teachers_and_the_labels() -> None:
    z, f, y = RNG.normal(size=(3, 9, 1)), RNG.normal(size=(9, 1)), RNG.normal(size=9)
    task, taught = student("numbers", share=0.3), LESSONS["numbers"].teach(jnp.array(z), 4)
    sums = task.measure(jnp.array(f), (None, jnp.array(y), taught))
    m, u = z.mean(axis=0)[:, 0], f[:, 0]
    assert float(sums[task.objective][0]) == pytest.approx(
        0.3 * ((m - u) ** 2).sum() / 2 + 0.7 * ((y - u) ** 2).sum() / 2, rel=1e-4
    )
    found = task.measured(sums, np)
    assert float(found.pop("disagreement")) == pytest.approx(np.sqrt(((m - u) ** 2).mean()), rel=1e-4)
    assert list(found) == [metric.name for metric in numbers.METRICS]


def test_gradients_keep_their_size_when_the_temperature_rises() -> None:
    """In the limit they are (f − z) / C for logits of mean 0: equation 4 of the paper, times T²."""
    z, f, _ = logits()
    z, f = z - z.mean(axis=-1, keepdims=True), f - f.mean(axis=-1, keepdims=True)
    lesson, hot = LESSONS["classes"], 300.0
    taught = lesson.teach(jnp.array(z[:1]), hot)
    g = jax.grad(lambda f: jnp.sum(lesson.miss(f, taught, hot)))(jnp.array(f))
    np.testing.assert_allclose(g, (f - z[0]) / 5, atol=0.01)
    assert np.abs(g).max() > 0.1


def test_what_is_measured_of_the_task_stays() -> None:
    z, f, y = logits()
    own, task = (None, jnp.array(y)), student("classes")
    taught = LESSONS["classes"].teach(jnp.array(z), 4)
    sums, base = task.measure(jnp.array(f), (*own, taught)), BASE["classes"].measure(jnp.array(f), own)
    assert {name: sums[name] for name in base} == base
    assert sums.keys() == task.no_sums().keys()
    found = task.measured(sums, np)
    agreement = (f.argmax(axis=1) == softmax(z / 4).mean(axis=0).argmax(axis=1)).mean()
    assert float(found.pop("agreement")) == pytest.approx(agreement)
    assert found == BASE["classes"].measured(base, np)
    assert [metric.name for metric in task.metrics] == ["accuracy", "loss", "agreement"]


def test_a_student_that_says_what_its_teacher_says_misses_nothing() -> None:
    z, _, y = logits()
    task, taught = student("classes", share=1), LESSONS["classes"].teach(jnp.array(z[:1]), 4)
    sums = task.measure(jnp.array(z[0]), (None, jnp.array(y), taught))
    assert abs(float(sums[task.objective][0])) < 1e-4
    assert sums["agreement"][0] == sums["agreement"][1] == 7


def test_batches_of_the_task_do_not_see_the_teacher() -> None:
    seen: list[int] = []

    def forward(params, state, batch, key):
        seen.append(len(batch))
        return batch[0], state

    def refresh(params, state, batch):
        seen.append(len(batch))
        return state

    task = distilled(
        {"temperature": 4, "share": 0.5}, BASE["classes"]._replace(forward=forward, refresh=refresh), "classes"
    )
    task.forward((), {}, (1, 2, 3), None)
    assert task.refresh
    task.refresh((), {}, (1, 2, 3))
    assert seen == [2, 2]
