"""Students of an ensemble have a lower validation loss than those of the labels alone, where labels are few."""

from pathlib import Path

import pytest

import distopt
from distopt.config import combine, compose
from distopt.runner.run import run_together
from distopt.runner.sweep import Sweep
from distopt.runs.results import load

SETTING = ["experiment=distillation/alone", "evaluate.points=1"]
LOSS = "validation_loss_final"


@pytest.mark.slow
def test_a_student_of_an_ensemble_has_a_lower_loss(tmp_path: Path) -> None:
    """301 labels; 4 members of 30 passes, students of 120 passes, in pairs of equal seeds."""
    setting = [*SETTING, "batch_size=32", "epochs=120", f"output={tmp_path}"]
    teacher = distopt.run([*setting, "optimizer=ensemble", "workers=4"])
    setting += ["optimizer=sequential", "workers=1"]
    students, alone = (
        run_together([compose([*setting, *taught, f"seed={seed}"]) for seed in (1, 2, 3)])
        for taught in ([f"teacher={teacher.folder}"], [])
    )
    gains = [a.summary[LOSS] - b.summary[LOSS] for a, b in zip(alone, students, strict=True)]
    assert min(gains) > 0.01
    assert all(run.summary["validation_agreement_final"] > 0.95 for run in students)


@pytest.mark.slow
def test_the_prepared_experiment_shows_it_in_nearly_all_seeds(tmp_path: Path) -> None:
    runs = combine(["experiment=distillation", f"seed={','.join(map(str, range(8)))}", f"output={tmp_path}"])
    ends = Sweep().run([(" ".join(run.words), run.config) for run in runs])
    assert {end.status for end in ends} == {"done"}
    losses = [load(end.folder).summary[LOSS] for end in ends if end.folder]
    ensembles, students, alone = losses[:8], losses[8:16], losses[16:]
    assert sum(a < b for a, b in zip(students, alone, strict=True)) >= 7
    assert sum(a < b for a, b in zip(ensembles, alone, strict=True)) >= 7
