"""A finished run teaches another one: what it says, who may not teach, and that everything else stays as it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import distopt
from distopt.cli import main
from distopt.config import compose, fingerprint, located, validate
from distopt.errors import ConfigError
from distopt.runs.results import Run
from distopt.training.experiment import Experiment, build, taught

RUN = ["workers=2", "epochs=4", "evaluate.points=1", "local.learning_rate=0.01"]
TINY = [*RUN, "launcher=sim", "model=logistic"]
OTHER = [*RUN, "launcher=sim", "model=mlp", "model.hidden=[8]"]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A center and an ensemble of logistic regressions."""
    folder = tmp_path_factory.mktemp("teachers")
    made = {name: [*TINY, f"optimizer={name}", f"name={name}", f"output={folder}"] for name in ("adag", "ensemble")}
    return {name: distopt.run(overrides) for name, overrides in made.items()}


@pytest.fixture
def copy(teachers: dict[str, Run], tmp_path: Path) -> Path:
    """A teacher that a test may damage."""
    return Path(shutil.copytree(teachers["adag"].folder, tmp_path / "teacher"))


def student(teacher: Path, *overrides: str) -> Experiment:
    return build(located(validate(compose([*TINY, f"teacher={teacher}", *overrides]))))


def told(teacher: Run, *overrides: str) -> tuple[Experiment, np.ndarray]:
    """A student, and what its teacher says of the validation data."""
    (made,) = taught([student(teacher.folder, *overrides)])
    assert made.dataset
    return made, made.dataset.validation[-1]


@pytest.mark.parametrize("name", ["adag", "ensemble"])
def test_a_teacher_says_what_its_run_measured(teachers: dict[str, Run], name: str) -> None:
    made, says = told(teachers[name], "distillation.temperature=1")
    assert made.dataset
    _, y, _ = made.dataset.validation
    assert (says.argmax(axis=1) == y).mean() == pytest.approx(teachers[name].summary["validation_accuracy_final"])
    loss = -says[np.arange(len(y)), y].mean()
    assert loss == pytest.approx(teachers[name].summary["validation_loss_final"], rel=1e-4)


def test_members_teach_the_mean_of_their_softened_probabilities(teachers: dict[str, Run]) -> None:
    made, says = told(teachers["ensemble"], "distillation.temperature=3")
    assert made.dataset
    x = made.dataset.validation[0].reshape(len(says), -1)
    with np.load(teachers["ensemble"].folder / "model.npz") as arrays:
        (kernel,) = (array for array in arrays.values() if array.ndim == 3)
        (bias,) = (array for array in arrays.values() if array.ndim == 2)
    z = np.exp((np.einsum("nd,mdc->mnc", x, kernel) + bias[:, None]) / 3)
    assert len(z) == 2
    np.testing.assert_allclose(np.exp(says), (z / z.sum(axis=-1, keepdims=True)).mean(axis=0), rtol=1e-3)


@pytest.mark.slow
def test_statistics_of_a_teacher_are_computed_anew(tmp_path: Path) -> None:
    normal = [*OTHER, "model.norm=batch", "optimizer=adag", f"output={tmp_path}"]
    teacher = distopt.run(normal)
    made, says = told(teacher, "distillation.temperature=1")
    assert made.dataset
    hits = says.argmax(axis=1) == made.dataset.validation[1]
    assert hits.mean() == pytest.approx(teacher.summary["validation_accuracy_final"])


def test_seeds_share_teacher_task_and_what_is_said(teachers: dict[str, Run]) -> None:
    first = student(teachers["adag"].folder)
    other = build({**first.config, "seed": 1}, first.dataset)
    assert other.dataset is first.dataset
    assert other.program == first.program
    again, hotter = student(teachers["adag"].folder), student(teachers["adag"].folder, "distillation.temperature=2")
    assert again.model is first.model is not hotter.model
    heard = taught([first, other])
    assert heard[0].dataset is heard[1].dataset


def test_another_architecture_learns_and_a_replay_has_the_same_bits(
    teachers: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [*OTHER, f"teacher={teachers['ensemble'].folder}", f"output={tmp_path}"]
    run = distopt.run(settings)
    assert [metric.name for metric in run.metrics] == ["accuracy", "loss", "agreement"]
    assert run.summary["validation_agreement_final"] > 0.1
    assert run.info["teacher"]["optimizer"] == "ensemble"
    assert run.commits["agreement"].between(0, 1).all()
    assert main(["replay", str(run.folder)]) == 0
    assert "identical" in capsys.readouterr().out
    alone = distopt.run([*OTHER, f"output={tmp_path}"])
    assert alone.info["teacher"] is None
    first = [run.evals.iloc[0]["loss"], run.evals.iloc[0]["accuracy"]]
    assert first == [alone.evals.iloc[0]["loss"], alone.evals.iloc[0]["accuracy"]]


@pytest.mark.ray
@pytest.mark.slow
def test_real_workers_hear_the_teacher(
    teachers: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = shutil.copytree(teachers["ensemble"].folder, tmp_path / "teacher")
    ray = ["launcher=ray", "launcher.workers_per_actor=1", "optimizer=adag"]
    run = distopt.run([*RUN, "model=mlp", *ray, f"teacher={teacher}", f"output={tmp_path}"])
    assert run.status == "done"
    assert run.summary["validation_agreement_final"] > 0.1
    assert main(["replay", str(run.folder)]) == 0
    assert "identical" in capsys.readouterr().out


@pytest.mark.slow
def test_numbers_are_taught_as_well(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "n.npz", train_x=x, train_y=x.sum(axis=1))
    data = ["dataset=npz", "dataset.kind=numbers", f"dataset.file={tmp_path / 'n.npz'}", f"output={tmp_path}"]
    teacher = distopt.run([*TINY, *data, "model=linear", "optimizer=ensemble"])
    run = distopt.run([*TINY, *data, "model=linear", f"teacher={teacher.folder}"])
    assert run.summary["validation_disagreement_final"] > 0


def info(folder: Path, **changed: Any) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, "no run to learn from .*no such folder"),
        (lambda folder: (folder / "run.json").unlink(), "no run to learn from"),
        (
            lambda folder: (folder / "model.npz").unlink(),
            r"model\.npz cannot be read \(no such file\); repeat that run",
        ),
        (lambda folder: (folder / "model.npz").write_bytes(b"PK"), r"model\.npz cannot be read"),
        (lambda folder: info(folder, status="diverged"), "that run is diverged; give one that is done or stopped"),
        (lambda folder: info(folder, classes=7), "samples of 8 x 8 and 7 classes; dataset=digits .* 10 classes"),
        (lambda folder: info(folder, shape=[28, 28]), "samples of 28 x 28 and 10 classes; dataset=digits .* 8 x 8"),
        (lambda folder: info(folder, kind="numbers"), "samples of 8 x 8 and numbers; dataset=digits"),
        (
            lambda folder: np.savez(folder / "model.npz", a=np.zeros(3)),
            r"has Dense_0/bias of shape \(10,\), model.npz None; give a teacher of such data",
        ),
        (
            lambda folder: (folder / "config.yaml").write_text(
                (folder / "config.yaml").read_text().replace("name: logistic", "name: nowhere:model")
            ),
            "its model cannot be built",
        ),
    ],
)
def test_who_cannot_teach_is_refused_in_a_line(copy: Path, damage: Any, words: str) -> None:
    damage(copy)
    with pytest.raises(ConfigError, match=f"^teacher=.*{words}") as caught:
        student(copy)
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)


def test_functions_and_texts_have_no_teachers(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no teacher is heard on dataset=none"):
        student(copy, "model=beale", "dataset=none", "stop.updates=3")
    with pytest.raises(ConfigError, match="a text has too many tokens to hear it on each"):
        student(copy, "model=gpt", "dataset=pydoc")
    function = [*TINY, "model=beale", "dataset=none", "stop.updates=3", "optimizer=adag"]
    with pytest.raises(ConfigError, match="model=beale learnt from no data"):
        student(distopt.run([*function, f"output={tmp_path}"]).folder)


@pytest.mark.parametrize("wrong", ["teacher=5", "distillation.temperature=0", "distillation.share=1.5"])
def test_settings_are_checked(wrong: str) -> None:
    with pytest.raises(ConfigError, match=f"{wrong} must be"):
        validate(compose([wrong]))


def test_teachers_count_by_their_model_and_only_then_how_one_learns_from_them(copy: Path, tmp_path: Path) -> None:
    def mark(*overrides: str) -> str:
        return fingerprint(validate(compose(list(overrides))))

    moved = Path(shutil.copytree(copy, tmp_path / "moved"))
    first = mark(f"teacher={copy}")
    assert mark(f"teacher={moved}") == first != mark()
    assert mark(f"teacher={copy}", "distillation.temperature=2") != first
    assert mark("distillation.temperature=2", "distillation.share=1") == mark()
    np.savez(moved / "model.npz", a=np.zeros(3))
    assert mark(f"teacher={moved}") != first


def test_a_prediction_needs_no_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "launcher=sim", f"teacher={tmp_path / 'nobody'}"]) == 0
    assert "updates" in capsys.readouterr().out
