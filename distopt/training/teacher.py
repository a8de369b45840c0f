"""A teacher: a finished run, whose model or ensemble says once, before training, what students learn from it."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distopt import models
from distopt.datasets import Dataset
from distopt.datasets.dataset import Samples, length
from distopt.errors import ConfigError, ResultsError
from distopt.files.npz import read_arrays
from distopt.files.untrusted import BROKEN, reason
from distopt.records import Kind
from distopt.rules import Params
from distopt.tasks import ModelState, Task
from distopt.tasks.distillation import LESSONS
from distopt.training import statistics
from distopt.trees import paths, unnamed


class Teacher(NamedTuple):
    """The model of a finished run, which goes with the data wherever they are sent."""

    folder: Path
    config: Mapping[str, Any]  # of its run
    arrays: Mapping[str, np.ndarray]  # its parameters by name, with a leading axis of members; of a center, one


def bring(data: Dataset | None, folder: str) -> Dataset:
    """Return data with their teacher, checked by its shapes alone; `hear` lets it speak.

    Args:
        data: of the student; those that have a teacher already keep it.
        folder: of a finished run.

    Raises:
        ConfigError: no finished run with a model is there, or it is not one for these data.
    """
    if data and data.teacher:
        return data
    teacher, info = _read(Path(folder))
    if data is None or data.kind not in LESSONS:
        has = "no teacher is heard on dataset=none" if data is None else "a text has too many tokens to hear it on each"
        raise ConfigError(f"teacher={folder}: {has}; choose data with {' or '.join(LESSONS)}, or leave teacher out")
    _check_samples(teacher, info, data)
    return data._replace(teacher=teacher._replace(arrays=_members(teacher, data)))


def hear(data: Dataset, temperature: float) -> Dataset:
    """Return data of which every sample ends with what the teacher says of it; see `distopt.tasks.distillation`.

    A teacher is evaluated as a center is: without dropout, its statistics computed anew, on training data of the
    student. The members of an ensemble teach together.

    Raises:
        ConfigError: what it says is not finite.
    """
    teacher: Teacher = data.teacher
    task = _task(teacher, data)
    like, state = jax.jit(task.init)(jax.random.key(teacher.config["seed"]))
    params = jax.tree.map(jnp.asarray, unnamed(teacher.arrays, like))
    if state and task.refresh:
        batches = statistics.batches(data, teacher.config["batch_size"])
        states = jax.jit(partial(statistics.of_each, task))(params, state, batches)
    else:
        members = len(jax.tree.leaves(params)[0])
        states = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (members, *jnp.shape(leaf))), state)
    says = jax.jit(partial(_says, task, data.kind, temperature))
    told = [_outputs(partial(says, params, states), part, task.at_once) for part in (data.train, data.validation)]
    if not all(np.isfinite(outputs).all() for outputs in told):
        raise ConfigError(f"teacher={teacher.folder}: its outputs on dataset={data.name} are not finite; give another")
    return data._replace(train=(*data.train, told[0]), validation=(*data.validation, told[1]), teacher=None)


def batch_shapes(data: Dataset | None, size: int) -> Any:
    """Return the shapes of a batch of `size` samples as a task gets it, with what a teacher is going to say."""
    if data is None:
        return ()
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype), data.train)
    if data.teacher is None:
        return like
    return *like, jax.ShapeDtypeStruct((size, data.classes) if data.kind == "classes" else (size,), jnp.float32)


def _read(folder: Path) -> tuple[Teacher, Mapping[str, Any]]:
    """Return the model of a finished run, and its `run.json`."""
    from distopt.runs import results  # imports pandas

    try:
        run = results.load(folder)
    except ResultsError as error:
        raise ConfigError(f"teacher={folder}: no run to learn from ({error})") from None
    if not run.finished:
        raise ConfigError(f"teacher={folder}: that run is {run.status}; give one that is done or stopped")
    if absent := [key for key in ("model", "dataset", "batch_size") if key not in run.config]:
        raise ConfigError(f"teacher={folder}: config.yaml has no {', '.join(absent)}; give another run")
    if run.config["dataset"].get("name") == "none":
        name = run.config["model"].get("name")
        raise ConfigError(f"teacher={folder}: model={name} learnt from no data; give a run with a dataset")
    try:
        return Teacher(folder, run.config, read_arrays(folder / "model.npz")), run.info
    except BROKEN as error:
        raise ConfigError(
            f"teacher={folder}: model.npz cannot be read ({reason(error)}); repeat that run, or give another"
        ) from None


def _check_samples(teacher: Teacher, info: Mapping[str, Any], data: Dataset) -> None:
    """Refuse a teacher that learnt from samples of another kind, shape or number of classes."""
    mine = data.kind, tuple(data.shape), data.classes
    its = info.get("kind", data.kind), tuple(info.get("shape") or data.shape), info.get("classes", data.classes)
    if its != mine:
        learnt = f"dataset={teacher.config['dataset']['name']} with {_words(*its)}"
        raise ConfigError(
            f"teacher={teacher.folder}: learnt from {learnt}; dataset={data.name} has {_words(*mine)}, and a teacher "
            "must know the like"
        )


def _words(kind: Kind, shape: tuple[int, ...], classes: int) -> str:
    size = " x ".join(str(length) for length in shape)
    return f"samples of {size} and " + (f"{classes} classes" if kind == "classes" else kind)


def _task(teacher: Teacher, data: Dataset) -> Task:
    try:
        return models.build(teacher.config["model"], data.shape, data.classes, data.kind)
    except ConfigError as error:
        raise ConfigError(f"teacher={teacher.folder}: its model cannot be built ({error})") from None


def _members(teacher: Teacher, data: Dataset) -> dict[str, np.ndarray]:
    """Return the parameters with a leading axis of members; refuse those that are not of its model on these data."""
    task, name = _task(teacher, data), f"model={teacher.config['model']['name']}"
    params, state = jax.eval_shape(task.init, jax.random.key(0))
    like = dict(zip(paths(params), (leaf.shape for leaf in jax.tree.leaves(params)), strict=True))
    found = {key: array.shape for key, array in teacher.arrays.items()}
    members = {shape[:1] for shape in found.values()}
    if found == like:
        arrays = {key: array[None] for key, array in teacher.arrays.items()}
    elif len(members) == 1 and {key: shape[1:] for key, shape in found.items()} == like:
        arrays = dict(teacher.arrays)
    else:
        key = next((key for key in like if found.get(key) != like[key]), "another array")
        raise ConfigError(
            f"teacher={teacher.folder}: {name} on dataset={data.name} has {key} of shape {like.get(key)}, model.npz "
            f"{found.get(key)}; give a teacher of such data"
        )
    if strange := [key for key, array in arrays.items() if array.dtype.kind != "f"]:
        raise ConfigError(f"teacher={teacher.folder}: array {', '.join(strange)} of model.npz does not hold numbers")
    batch = jax.tree.map(lambda array: array[:1], data.train)
    outputs, _ = jax.eval_shape(lambda p, s: task.forward(p, s, batch, None), params, state)
    width = data.classes if data.kind == "classes" else 1
    if getattr(outputs, "shape", None) != (1, width):
        raise ConfigError(f"teacher={teacher.folder}: {name} has other outputs than {width} of each sample")
    return arrays


def _says(task: Task, kind: Kind, temperature: float, params: Params, states: ModelState, batch: Samples) -> jax.Array:
    """Return what the members say together of a batch."""
    outputs = jax.lax.map(lambda one: task.forward(one[0], one[1], batch, None)[0], (params, states))
    return LESSONS[kind].teach(outputs, temperature)


def _outputs(says: Callable[[Samples], jax.Array], part: Samples, at_once: int) -> np.ndarray:
    """Return what is said of all samples of a part, float32; at most `at_once` are heard together."""
    starts = range(0, length(part), at_once)
    chunks = (jax.tree.map(lambda array, first=first: array[first : first + at_once], part) for first in starts)
    return np.concatenate([np.asarray(says(chunk), np.float32) for chunk in chunks])
