"""The language model: what it starts from, and that it does not see what it predicts."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distopt
from distopt import models
from distopt.errors import ConfigError
from distopt.report.ends import summary
from distopt.tasks import Task
from tests.launchers.test_replay import center
from tests.marks import slow

SETTINGS = {"name": "gpt", "width": 16, "layers": 2, "heads": 2, "dropout": 0.0, "tied": True}
BLOCKS = np.random.default_rng(0).integers(50, size=(3, 9)).astype(np.uint8)


def build(**settings: Any) -> Task:
    return models.build(SETTINGS | settings, (8,), 50, "tokens")


@pytest.mark.parametrize("settings", [{}, {"tied": False}, {"layers": 7}])
def test_the_first_loss_is_that_of_guessing(settings: dict[str, Any]) -> None:
    task = build(**settings)
    params, state = task.init(jax.random.key(0))
    loss, _ = task.loss(params, state, (BLOCKS,), None)
    assert float(loss) == pytest.approx(math.log(50), abs=0.15)


@pytest.mark.parametrize("layers", [1, 7])
def test_no_position_sees_the_ones_after_it(layers: int) -> None:
    task = build(layers=layers)
    params, state = task.init(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf * 10, params)  # else all logits are alike
    changed = BLOCKS.copy()
    changed[:, 5] = (changed[:, 5] + 1) % 50
    one, other = (np.asarray(task.forward(params, state, (blocks,), None)[0]) for blocks in (BLOCKS, changed))
    np.testing.assert_array_equal(one[:, :5], other[:, :5])
    assert (one[:, 5:] != other[:, 5:]).any(axis=(0, 2)).all()


def test_layers_that_are_scanned_drop_different_units() -> None:
    task = build(layers=7, dropout=0.5)
    params, state = task.init(jax.random.key(0))
    losses = [
        float(task.loss(params, state, (BLOCKS,), key)[0]) for key in (*jax.random.split(jax.random.key(1)), None)
    ]
    assert len(set(losses)) == 3
    assert len({leaf.shape[0] for leaf in jax.tree.leaves(params["layers"])}) == 1


def test_number_of_parameters() -> None:
    task = build()
    sizes = sum(leaf.size for leaf in jax.tree.leaves(task.init(jax.random.key(0))[0]))
    layer = 16 * 48 + 16 * 16 + 2 * 4 * 16 * 16 + 2 * 16
    assert sizes == 50 * 16 + 8 * 16 + 2 * layer + 16


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"heads": 3}, "model.width=16 must be a multiple of model.heads=3"),
        ({"layers": 0}, "model.layers=0 must be a whole number > 0"),
        ({"tied": "no"}, "model.tied=no must be true or false"),
        ({"dropout": 1}, r"model.dropout=1 must be in \[0, 1\)"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build(**settings)


@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        (
            "cnn",
            "pydoc",
            r"model=cnn takes samples with a class \(dataset=digits\) or .*; the data set has a text, for model=gpt",
        ),
        (
            "gpt",
            "digits",
            r"model=gpt takes a text \(dataset=pydoc\); the data set has samples with a class, for model=mlp",
        ),
    ],
)
def test_data_of_another_kind_are_refused(tmp_path: Path, model: str, data: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        distopt.run(["launcher=sim", f"model={model}", f"dataset={data}", f"output={tmp_path}"])


RUN = [
    "model=gpt",
    "dataset=text",
    "model.width=16",
    "model.heads=2",
    "model.layers=1",
    "dataset.context=16",
    "workers=3",
]
RUN += ["epochs=3", "evaluate.points=2", "batch_size=4", "local.learning_rate=0.01"]


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "verse.txt"
    path.write_bytes(b"The owl and the pussycat went to sea in a beautiful pea-green boat.\r\n" * 40)
    return f"dataset.file={path}"


@pytest.mark.parametrize("optimizer", ["adag", slow("averaging"), slow("diloco"), slow("easgd"), slow("ensemble")])
def test_it_learns_a_text_in_both_engines_and_is_repeated(tmp_path: Path, text: str, optimizer: str) -> None:
    overrides = [*RUN, text, f"optimizer={optimizer}", f"output={tmp_path}"]
    one, other = (distopt.run(["launcher=sim", *overrides, f"launcher.width={width}"]) for width in (1, 4))
    first, last = one.evals["bits_per_byte"].iloc[[0, -1]]
    assert first == pytest.approx(8, abs=0.25)
    assert last < 0.9 * first
    np.testing.assert_allclose(other.evals["bits_per_byte"], one.evals["bits_per_byte"], rtol=1e-3)
    assert [metric["name"] for metric in one.info["metrics"]] == ["bits_per_byte", "loss", "perplexity"]
    assert one.commits["bits_per_byte"].iloc[-1] == pytest.approx(one.commits["loss"].iloc[-1] / math.log(2), rel=1e-6)
    again = distopt.run(["launcher=replay", f"launcher.trace={one.folder}", *overrides])
    assert center(again) == center(one)


def test_a_sample_of_text_is_kept_and_shown(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distopt.tasks.tokens.WRITTEN", 40)
    overrides = [*RUN, text, "launcher=sim", "optimizer=adag"]
    runs = [distopt.run([*overrides, f"output={tmp_path / name}"]) for name in "ab"]
    samples = [(run.folder / "sample.txt").read_bytes() for run in runs]
    assert samples[0] == samples[1]
    assert 10 <= len(samples[0].decode()) <= 40  # some bytes may be one sign together
    told = summary(runs[0])
    assert "a sample of what it writes (sample.txt):" in told
    assert f"parameters  {runs[0].info['parameters']:,}" in told
    (runs[0].folder / "sample.txt").write_bytes(b"the owl\x1b[31m\xff\nand the cat\r")
    assert summary(runs[0]).splitlines()[-2:] == ["    the owl\ufffd[31m\ufffd", "    and the cat\ufffd"]
    ensemble = distopt.run([*RUN, text, "launcher=sim", "optimizer=ensemble", f"output={tmp_path / 'c'}"])
    assert not (ensemble.folder / "sample.txt").exists()


def test_lower_is_better_wherever_runs_are_compared(tmp_path: Path, text: str) -> None:
    overrides = [*RUN, text, f"output={tmp_path}", "launcher=sim"]
    good = distopt.run([*overrides, "optimizer=averaging"])
    bad = distopt.run([*overrides, "optimizer=averaging", "local.learning_rate=0.00001"])
    rows = distopt.compare([good, bad], reference=str(bad.folder.name)).set_index("configuration")
    assert rows["metric"].unique() == ["validation bits_per_byte"]
    assert rows["better"].unique() == ["lower"]
    better, worse = (rows.iloc[rows["final"].argmin()], rows.iloc[rows["final"].argmax()])
    assert better["te_area"] > 1 == worse["te_area"]
    assert better["difference"] < 0
    assert better["time_to_target_s"] < worse["time_to_target_s"]
    assert better["best"] == good.evals.loc[good.evals["split"] == "validation", "bits_per_byte"].min()
    assert better["target"] == max(better["best"], worse["best"])
    stopped = distopt.run(
        [*overrides, "optimizer=adag", "stop.metric=bits_per_byte", "stop.target=7.5", "evaluate.every=2"]
    )
    assert stopped.status == "stopped"
    assert "stop.target=7.5 reached: validation bits_per_byte" in stopped.info["reason"]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["stop.accuracy=0.9"], "stop.accuracy: no such metric, model=gpt has bits_per_byte, loss, perplexity"),
        (["stop.metric=rmse", "stop.target=1"], "stop.metric=rmse: no such metric"),
        (["stop.metric=loss"], "stop.metric and stop.target: give both or neither"),
    ],
)
def test_criteria_that_make_no_sense(tmp_path: Path, text: str, overrides: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        distopt.run(["launcher=sim", *RUN, text, f"output={tmp_path / 'runs'}", *overrides])
    assert not (tmp_path / "runs").exists()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["downpour", "easgd"])
def test_real_processes_train_it_and_are_repeated(tmp_path: Path, text: str, optimizer: str) -> None:
    overrides = [*RUN, text, f"optimizer={optimizer}", f"output={tmp_path}"]
    run = distopt.run(["launcher=ray", "launcher.workers_per_actor=3", *overrides])
    assert run.status == "done", run.info["reason"]
    assert run.evals["bits_per_byte"].iloc[-1] < run.evals["bits_per_byte"].iloc[0]
    again = distopt.run(["launcher=replay", f"launcher.trace={run.folder}", *overrides])
    assert center(again) == center(run)


def test_logits_of_tied_embeddings_share_their_gradient() -> None:
    task = build()
    params, state = task.init(jax.random.key(0))
    gradient = jax.grad(lambda p: task.loss(p, state, (BLOCKS,), None)[0])(params)["embedding"]["embedding"]
    seen = np.isin(np.arange(50), BLOCKS[:, :-1])
    assert (np.abs(gradient[~seen]).sum(axis=1) > 0).all()  # by the logits, also where the token is nowhere read
    assert jnp.isfinite(gradient).all()
