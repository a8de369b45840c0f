"""Penalised convex models: distopt's optimum is that of SciPy in double precision."""

from pathlib import Path

import jax
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

import distopt
from distopt import models
from distopt.errors import ConfigError
from tests.marks import slow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6))
Y = (X @ RNG.normal(size=(6, 3)) + RNG.gumbel(size=(240, 3))).argmax(axis=1)
L2 = 0.05


def optimum(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Return mean cross-entropy and penalty where their sum is smallest."""
    d, classes, each = x.shape[1], int(y.max()) + 1, np.arange(len(y))

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        kernel, bias = theta[: d * classes].reshape(d, classes), theta[d * classes :]
        logits = x @ kernel + bias
        error = softmax(logits, axis=1)
        error[each, y] -= 1
        value = -log_softmax(logits, axis=1)[each, y].mean() + L2 / 2 * (kernel**2).sum()
        return value, np.concatenate([(x.T @ error / len(y) + L2 * kernel).ravel(), error.mean(axis=0)])

    exact = {"maxiter": 1000, "ftol": 0, "gtol": 1e-9}
    found = minimize(objective, np.zeros((d + 1) * classes), jac=True, method="L-BFGS-B", options=exact)
    penalty = L2 / 2 * (found.x[: d * classes] ** 2).sum()
    return found.fun - penalty, penalty


@pytest.mark.parametrize("optimizer", ["sequential", slow("synchronous")])
def test_the_optimum_is_that_of_scipy(tmp_path: Path, optimizer: str) -> None:
    """With whole shards as batches the gradient is exact, so nothing but single precision is left of the distance."""
    np.savez(tmp_path / "t.npz", train_x=X, train_y=Y, validation_x=X, validation_y=Y)
    workers = 1 if optimizer == "sequential" else 2
    data = ["dataset=npz", f"dataset.file={tmp_path / 't.npz'}", "dataset.validation_x=validation_x"]
    data += ["dataset.validation_y=validation_y", "model=logistic", f"model.l2={L2}", f"batch_size={240 // workers}"]
    rules = [f"optimizer={optimizer}", f"workers={workers}", "local=sgd", "local.learning_rate=1.0"]
    run = distopt.run(["launcher=sim", *data, *rules, "epochs=400", "evaluate.points=1", f"output={tmp_path / 'runs'}"])
    last = run.evals[run.evals["split"] == "train"].iloc[-1]
    loss, penalty = optimum(X.astype(np.float32).astype(np.float64), Y)
    assert (last["loss"], last["penalty"]) == pytest.approx((loss, penalty), rel=2e-4)
    assert last["loss"] + last["penalty"] == pytest.approx(loss + penalty, rel=1e-6)
    assert penalty > 0.02


@pytest.mark.parametrize("name", ["logistic", "linear"])
def test_kernels_alone_are_penalised(name: str) -> None:
    kind = "numbers" if name == "linear" else "classes"
    free, held = (models.build({"name": name, "l2": l2}, (4,), 1, kind) for l2 in (0.0, 3.0))
    assert free.penalty is None
    assert held.penalty is not None
    params = jax.tree.map(lambda leaf: leaf * 0 + 2, held.init(jax.random.key(0))[0])
    assert float(held.penalty(params)) == 3 / 2 * 4 * 4
    with pytest.raises(ConfigError, match=r"model\.l2=-1 must be a number >= 0"):
        models.build({"name": name, "l2": -1}, (4,), 1, kind)
