"""What makes two runs the same, and what does not."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from distopt.config import compose, fingerprint, located, validate, workload


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return validate(compose())


def changed(plain: dict[str, Any], override: str) -> dict[str, Any]:
    """The settings with one of them changed, which is there already."""
    config = OmegaConf.create(plain)
    key, _, value = override.partition("=")
    OmegaConf.set_struct(config, True)
    OmegaConf.update(config, key, yaml.safe_load(value))
    return OmegaConf.to_container(config)  # type: ignore[return-value]


def turned(value: Any) -> Any:
    """The same settings with the keys of every level in the opposite order."""
    return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


def test_the_order_of_keys_does_not_count(plain: dict[str, Any]) -> None:
    assert list(turned(plain)["optimizer"]) != list(plain["optimizer"])
    assert fingerprint(turned(plain)) == fingerprint(plain)


IRRELEVANT = ["output=elsewhere", "name=other", "trackers=[tensorboard]", "trackers_output=x", "launcher.timeout=7"]
IRRELEVANT += ["launcher.log_to_driver=true", "optimizer.gamma=0.0001", "epochs=40.0"]


@pytest.mark.parametrize("override", IRRELEVANT)
def test_what_decides_no_number_does_not_count(plain: dict[str, Any], override: str) -> None:
    assert fingerprint(changed(plain, override)) == fingerprint(plain)


def test_everything_else_counts(plain: dict[str, Any]) -> None:
    overrides = [
        "seed=1",
        "optimizer.gamma=1",
        "optimizer.name=agn",
        "launcher.name=sim",
        "evaluate.points=3",
        "stop.updates=9",
    ]
    overrides += ["model.hidden=[63]", "dataset.partition=label", "cluster.step.cv=0.2", "local.on_pull=reset"]
    marks = {fingerprint(changed(plain, override)) for override in overrides}
    assert len(marks | {fingerprint(plain)}) == len(overrides) + 1


def test_files_count_by_their_content_and_not_by_their_place(tmp_path: Path) -> None:
    first, same, other = (tmp_path / name for name in ("first.csv", "same.csv", "other.csv"))
    for path, text in ((first, "a,label\n1,x\n"), (same, "a,label\n1,x\n"), (other, "a,label\n2,x\n")):
        path.write_text(text)
    csv = validate(compose(["dataset=csv", f"dataset.file={first}"]))
    marks = [fingerprint(changed(csv, f"dataset.file={path}")) for path in (first, same, other)]
    assert marks[0] == marks[1] != marks[2]
    first.write_text("a,label\n3,x\n")
    assert fingerprint(csv) != marks[0]


def test_the_workload_is_what_takes_the_time(plain: dict[str, Any]) -> None:
    for alike in ("seed=1", "optimizer.name=agn", "local.name=sgd", "cluster.name=stragglers"):
        assert workload(changed(plain, alike)) == workload(plain)
    for other in (
        "epochs=1",
        "model.name=logistic",
        "launcher.name=sim",
        "workers=5",
        "optimizer.window=1",
        "evaluate.points=1",
    ):
        assert workload(changed(plain, other)) != workload(plain)


def test_paths_of_files_are_absolute_once_they_are_located(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = {"dataset": {"file": "sub/t.csv", "label": "y"}, "launcher": {"trace": None}, "output": "results"}
    found = located(plain)
    assert found["dataset"] == {"file": str(tmp_path / "sub" / "t.csv"), "label": "y"}
    assert (found["launcher"]["trace"], found["output"]) == (None, "results")
    assert plain["dataset"] == {"file": "sub/t.csv", "label": "y"}
