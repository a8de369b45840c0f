"""The cost of an update at the server: time relative to Downpour's, and the passes over memory in its equations."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.interpreters.partial_eval import dce_jaxpr

from distopt import config, datasets
from distopt.datasets import Dataset
from distopt.rules import Commits
from distopt.training import experiment
from distopt.training.experiment import Experiment
from distopt.training.shapes import shapes
from distopt.training.update import compile_fold, fold
from distopt.trees import tree_bytes
from scripts.bench.tools import Line

WORKERS = 4
BASE = "downpour"


class Update(NamedTuple):
    """A compiled update with arrays to run it on."""

    program: Callable[..., Any]
    center: Any
    state: Any
    messages: list[Any]
    pulled: list[Any] | None

    def seconds(self, repeats: int) -> tuple["Update", float]:
        """Return the update after `repeats` calls, and their mean seconds."""
        q, state = len(self.messages), self.state
        who, staleness = np.arange(q, dtype=np.int32), np.ones(q, np.int32)
        began = time.perf_counter()
        for _ in range(repeats):
            folded = self.program(self.center, state, self.messages, who, staleness, self.pulled)
            state = folded.update.state
            jax.block_until_ready(folded)
        return self._replace(state=state), (time.perf_counter() - began) / repeats


def server_cost(
    data: Path, optimizers: Sequence[str] = (), model: str = "mlp_thesis", rounds: int = 5, repeats: int = 4
) -> list[Line]:
    """Measure the seconds of every optimizer's update over Downpour's, in turns, with 4 workers.

    A barrier folds 4 commits into one update. Passes are arrays of the model's size that an update has to read or write
    at least once: center, state, commits, pulled centers, and replies that are not the center itself.
    """
    chosen = ["dataset=npz", f"dataset.file={data}", f"model={model}", f"workers={WORKERS}"]
    loaded = datasets.load(config.validate(config.compose(chosen))["dataset"])
    base = _experiment(BASE, chosen, loaded)
    ours, lines = _prepare(base), []
    for name in optimizers or config.choices("optimizer"):
        built = _experiment(name, chosen, loaded)
        theirs, pairs = _prepare(built), []
        for _ in range(rounds + 1):
            ours, plain = ours.seconds(repeats)
            theirs, own = theirs.seconds(repeats)
            pairs.append((own, plain))
        own, plain = (1e3 * statistics.median(seconds) for seconds in zip(*pairs[1:], strict=True))
        ratio = statistics.median(a / b for a, b in pairs[1:])
        detail = f"{own:.1f} over {plain:.1f} ms; {passes(built):.3g} passes over {passes(base):.3g}"
        detail += f"; {built.quorum} commits" if built.quorum > 1 else ""
        lines.append(Line(f"server: update over Downpour's, {name}", ratio, "ratio", "", detail))
    return lines


def _experiment(name: str, chosen: Sequence[str], data: Dataset | None) -> Experiment:
    return experiment.build(config.validate(config.compose([*chosen, f"optimizer={name}"])), data)


def _prepare(built: Experiment) -> Update:
    """Compile an optimizer's update and run it once, on random numbers of the right shapes."""
    layout, rng = shapes(built), np.random.default_rng(0)

    def numbers(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(0.01 * rng.normal(size=leaf.shape) if floating else np.ones(leaf.shape), leaf.dtype)

    center = jax.tree.map(numbers, layout.params)
    state = jax.tree.map(jnp.array, built.optimizer.server.init(center, built.workers))
    messages = [jax.tree.map(numbers, layout.message) for _ in range(built.quorum)]
    pulled = None if built.quorum >= built.workers else [jax.tree.map(numbers, layout.params)] * built.quorum
    prepared = Update(compile_fold(built.optimizer), center, state, messages, pulled)
    return prepared.seconds(1)[0]


def passes(built: Experiment) -> float:
    """Return how many arrays of the model's size an update has to read or write, from its jaxpr alone."""
    layout, q = shapes(built), built.quorum
    state = jax.eval_shape(lambda p: built.optimizer.server.init(p, built.workers), layout.params)
    message, pulled = (
        jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((q, *leaf.shape), leaf.dtype), tree)
        for tree in (layout.message, None if q >= built.workers else layout.params)
    )
    count: Any = jax.ShapeDtypeStruct((q,), jnp.int32)
    closed = jax.make_jaxpr(lambda c, s, commits: fold(built.optimizer, c, s, commits))(
        layout.params, state, Commits(count, count, message, pulled)
    )
    jaxpr, used = dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    read = [variable for variable, needed in zip(closed.jaxpr.invars, used, strict=True) if needed]
    passed_on = {id(variable) for variable in closed.jaxpr.invars}
    written = {id(v): v for v in jaxpr.outvars if id(v) not in passed_on}.values()
    return tree_bytes([variable.aval for variable in (*read, *written)]) / tree_bytes(layout.params)
