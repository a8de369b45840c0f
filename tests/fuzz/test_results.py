"""Folders of runs and traces: what is damaged is refused or named, the rest is compared."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from distopt.cluster.settings import read_trace
from distopt.errors import ResultsError
from distopt.launchers import trace
from distopt.report.comparison import compare as comparison
from distopt.runner.finished import History
from distopt.runs import results
from distopt.runs.schema import REQUIRED
from scripts.tools import folders
from tests.fuzz.damage import damaged, read_or_refuse

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=2),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.write(tmp_path_factory.mktemp("good") / "run")


def examine(run: Path, other: Path) -> None:
    """Read everything there is to read of a run, and compare it with a good one."""
    found, problems = results.load_all([run, other])
    assert len(found) + len(problems) >= 2
    for each in found:
        with contextlib.suppress(ResultsError):
            assert len(each.commits.columns) > 0
    read_or_refuse(lambda: comparison.compare(found))
    History([run.parent])


@given(data=st.data(), name=st.sampled_from(["run.json", "config.yaml", "commits.parquet", "evals.parquet"]))
def test_damaged_files_of_a_run(tmp_path: Path, run: Path, name: str, data: st.DataObject) -> None:
    copy = shutil.copytree(run, tmp_path / "run", dirs_exist_ok=True)
    (copy / name).write_bytes(data.draw(damaged((run / name).read_bytes()) | st.binary(max_size=50)))
    examine(copy, run)


@given(data=st.data(), value=VALUES)
def test_any_value_in_the_records_of_a_run(tmp_path: Path, run: Path, value: Any, data: st.DataObject) -> None:
    copy = shutil.copytree(run, tmp_path / "run", dirs_exist_ok=True)
    info, config = json.loads((run / "run.json").read_text()), yaml.safe_load((run / "config.yaml").read_text())
    changed = data.draw(st.sampled_from([info, config]))
    changed[data.draw(st.sampled_from(sorted(changed)))] = value
    (copy / "run.json").write_text(json.dumps(info))
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    examine(copy, run)


COLUMN = st.sampled_from([np.nan, np.inf, -1, 2**62, 0.5, "x", None, True])


@given(data=st.data(), value=COLUMN)
def test_any_column_of_the_tables_of_a_run(tmp_path: Path, run: Path, value: Any, data: st.DataObject) -> None:
    copy = shutil.copytree(run, tmp_path / "run", dirs_exist_ok=True)
    name = data.draw(st.sampled_from(["commits", "evals"]))
    column = data.draw(st.sampled_from(REQUIRED[name]))
    pd.read_parquet(run / f"{name}.parquet").assign(**{column: value}).to_parquet(copy / f"{name}.parquet")
    examine(copy, run)


@given(text=st.text(alphabet='01234-.,eaif"\n\r x', max_size=60), head=st.sampled_from(["worker", "worker,step_s", ""]))
def test_any_trace(tmp_path: Path, head: str, text: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(f"{head}\n{text}", newline="")
    order = read_or_refuse(lambda: trace.read(file))
    assert order is None or order.commits["worker"].dtype == np.int64
    times = read_or_refuse(lambda: read_trace(str(file)))
    assert times is None or all((seconds > 0).all() for seconds in times.values())
