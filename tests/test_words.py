"""What users type by habit works, or is refused in a line that names the way out."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import distopt
from distopt import cli
from distopt.config import combine, compose, validate
from distopt.config.overrides import nearest
from distopt.errors import ConfigError, DistoptError
from distopt.settings import flat

KEYS = list(flat(validate(compose(["launcher=sim"]))))


@pytest.mark.parametrize("override", ["output=~/res", 'output="~/res"', "trackers_output=~/res"])
def test_the_home_folder_is_understood_quoted_or_not(monkeypatch: pytest.MonkeyPatch, override: str) -> None:
    monkeypatch.setenv("HOME", "/home/of/somebody")
    assert compose([override])[override.partition("=")[0]] == "/home/of/somebody/res"
    assert compose(["dataset=csv", "dataset.file=~/x.csv"]).dataset.file == "/home/of/somebody/x.csv"


def test_the_home_of_a_user_who_does_not_exist_is_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.file=.*~nosuchuser/x\.csv: no such file"):
        distopt.run(["launcher=sim", "dataset=csv", "dataset.file=~nosuchuser/x.csv", f"output={tmp_path}"])
    with pytest.raises(ConfigError, match=r"resume=.*~nosuchuser/x: no run there"):
        distopt.run(["resume=~nosuchuser/x"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "nosuchhost.invalid"])
def test_an_address_at_which_nobody_answers_is_refused_at_once(tmp_path: Path, host: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"{host}:{free.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"launcher\.address={address}: nobody answers there"):
            distopt.run(["launcher=ray", f"launcher.address={address}", f"output={tmp_path}"])
    assert list(tmp_path.iterdir()) == []


def test_a_group_with_a_typing_error_is_the_group() -> None:
    with pytest.raises(ConfigError, match=r"optimzer: no such key; did you mean optimizer\?"):
        compose(["optimzer=adag"])


def test_choices_are_found_by_a_pattern() -> None:
    assert [run.config.optimizer.name for run in combine(["optimizer=glob(a*sgd)"])] == ["aeasgd"]
    with pytest.raises(ConfigError, match=r"optimizer=adz\*: no such choice"):
        combine(["optimizer=glob(adz*)"])


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lr", "local.learning_rate"),
        ("learning_rate", "local.learning_rate"),
        ("gamma", "optimizer.gamma"),
        ("optimizer.gama", "optimizer.gamma"),
        ("batchsize", "batch_size"),
        ("zzz", None),
    ],
)
def test_a_wrong_key_suggests_the_one_that_was_meant(key: str, meant: str | None) -> None:
    assert nearest(key, KEYS) == meant


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "-m", "seed=0,1", "--cfg", "job"], "distopt: -m: Hydra shows one configuration"),
        (["run", "lr=0.1"], "did you mean local.learning_rate?"),
        (["run", "seed=99999999999"], "seed=99999999999 must be a whole number >= 0, at most 2147483647"),
        (["run", "name=" + 300 * "x"], "must be a folder name without /, of at most 200 bytes or null"),
    ],
)
def test_refusals_name_the_way_out(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    assert cli.main(arguments) == 1
    printed = capsys.readouterr().err
    assert words in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("command", ["compare", "plot", "report"])
def test_a_target_is_a_number(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "somewhere", "--target", "nan"])
    assert ended.value.code == 2
    assert "nan is no finite number" in capsys.readouterr().err


CALLER = """
import hydra
from hydra.core.global_hydra import GlobalHydra
with hydra.initialize_config_module("distopt.conf", version_base="1.3"):
    before = GlobalHydra.instance().hydra
    from distopt.config import compose
    assert compose(["workers=7"]).workers == 7
    assert GlobalHydra.instance().hydra is before
    assert hydra.compose("config", overrides=["workers=5"]).workers == 5
print("as before")
"""


def test_an_application_that_uses_hydra_finds_it_as_it_was(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", CALLER], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stdout.strip() == "as before", ended.stderr


def test_python_takes_a_string_as_well_as_a_list(tmp_path: Path) -> None:
    plane = "launcher=sim model=booth dataset=none local=sgd local.learning_rate=0.01 workers=2 stop.updates=4"
    run = distopt.run(f"{plane} optimizer=agn output={tmp_path}")
    assert (run.status, run.summary["updates"]) == ("stopped", 4)
    assert distopt.compare(str(tmp_path))["seeds"].tolist() == [1]
    assert distopt.compare(run)["seeds"].tolist() == [1]


PLAIN = compose(["launcher=sim", "workers=2"])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: distopt.run(None), "None is no override; give texts such as"),  # type: ignore[arg-type]
        (lambda: distopt.run(["workers=2", 5]), "5 is no override"),  # type: ignore[list-item]
        (lambda: distopt.run(b"workers=2"), "b'workers=2' is no override"),  # type: ignore[arg-type]
        (lambda: distopt.run("name='a"), "name='a: cannot be split into overrides"),
        (lambda: distopt.run(["workers=1,2"]), "workers=1,2: several values are several runs: `distopt run -m`"),
        (lambda: distopt.run({"workers": 2}), r"\(23 in all\) are missing; `distopt\.config\.compose"),
        (lambda: distopt.run({**PLAIN, "workers": object()}), "workers: Value 'object' is not a supported"),
        (lambda: distopt.run({**PLAIN, "workers": "two"}), "workers=two must be a whole number"),
        (lambda: distopt.run({**PLAIN, "workers": True}), "workers=true must be a whole number"),
        (lambda: distopt.load(None), "None is no path; give the folder of a run"),  # type: ignore[arg-type]
        (lambda: distopt.compare([5]), "5 is no path"),  # type: ignore[list-item]
        (lambda: distopt.compare(None), "None is no path"),  # type: ignore[arg-type]
        (lambda: distopt.compare([]), "no run to compare"),
        (lambda: distopt.compare({"nowhere"}), "nowhere: no such folder"),
        (lambda: distopt.compare(["nowhere"], metric=5), "metric=5 must be text or null"),  # type: ignore[arg-type]
        (lambda: distopt.compare(["nowhere"], split="test"), "split=test must be one of validation, train or null"),
        (lambda: distopt.compare(["nowhere"], target="high"), "target=high must be a number or null"),
        (lambda: distopt.compare(["nowhere"], reference=1), "reference=1 must be text or null"),
        (lambda: compose(5), "5 is no override"),  # type: ignore[arg-type]
    ],
)
def test_what_python_gives_is_checked_like_the_command_line(call: Any, told: str) -> None:
    with pytest.raises(DistoptError, match=told) as caught:
        call()
    assert str(caught.value).count("\n") <= 1


def test_python_may_give_overrides_in_one_text_everywhere() -> None:
    assert compose("workers=3 optimizer=agn") == compose(["workers=3", "optimizer=agn"])
    assert [run.config.workers for run in combine("workers=2,3")] == [2, 3]
