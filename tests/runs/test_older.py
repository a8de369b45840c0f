"""Runs of earlier versions: they act on what they lack as those versions did, and are still compared and replayed."""

from pathlib import Path

import yaml

import distopt
from distopt.cli import main
from distopt.report.comparison.grouping import group
from distopt.runs import results
from distopt.runs.older import completed

ADDED = ("schedule", "label_smoothing", "steps", "tokens")


def test_what_is_there_stays() -> None:
    config = {"schedule": {"name": "cosine"}, "local": {"name": "adamw", "weight_decay": 0.3}, "model": {"name": "gpt"}}
    found = completed(config)
    assert found["schedule"] == {"name": "cosine"}
    assert found["local"] == {"name": "adamw", "weight_decay": 0.3, "clip_norm": None, "decayed": None}
    assert found["model"] == {"name": "gpt"}


def test_an_older_run_is_one_configuration_with_later_ones_and_replayed(tmp_path: Path) -> None:
    overrides = ["launcher=sim", "workers=2", "steps=10", "evaluate.points=1", f"output={tmp_path}"]
    old, new = (distopt.run([*overrides, f"name={name}"]) for name in ("old", "new"))
    config = yaml.safe_load((old.folder / "config.yaml").read_text())
    config |= {"steps": None, "epochs": 10 * 2 * 32 / 1438}
    for run, lacks in ((old, ADDED), (new, ())):
        kept = {key: value for key, value in config.items() if key not in lacks}
        if lacks:
            del kept["local"]["weight_decay"], kept["model"]["activation"], kept["dataset"]["resident"]
        (run.folder / "config.yaml").write_text(yaml.safe_dump(kept))
        config = yaml.safe_load((new.folder / "config.yaml").read_text()) | {"steps": None, "epochs": 640 / 1438}
    [one] = group([results.load(old.folder), results.load(new.folder)])
    assert len(one.configurations) == 1
    assert main(["replay", str(old.folder)]) == 0
