"""Reference trajectories, computed in float64 by an independent implementation, against whole runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import distopt

CASES = json.loads((Path(__file__).parents[1] / "data" / "rules.json").read_text())
NAMES = {"sgd_sync": "synchronous"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['optimizer']}-{case['function']}")
def test_trajectory(case: dict[str, Any], tmp_path: Path) -> None:
    optimizer = NAMES.get(case["optimizer"], case["optimizer"])
    order = case.get("order") or list(range(case["workers"])) * case["rounds"]
    pd.DataFrame({"worker": order}).to_csv(tmp_path / "order.csv", index=False)
    overrides = [f"optimizer={optimizer}", f"optimizer.window={case['window']}", f"workers={case['workers']}"]
    overrides += [f"optimizer.{key}={case[key]}" for key in ("gamma", "rho", "elastic_learning_rate") if key in case]
    overrides += ["local=sgd", f"local.learning_rate={case['learning_rate']}"]
    overrides += [f"model={case['function']}", f"model.start={case['start']}", "dataset=none", "evaluate.every=1"]
    overrides += ["launcher=replay", f"launcher.trace={tmp_path}/order.csv", f"output={tmp_path}"]
    run = distopt.run(overrides)
    actual = run.evals.loc[run.evals["update"] > 0, ["loss", "x0", "x1"]]
    np.testing.assert_allclose(actual, case["expected"], rtol=1e-4, atol=1e-6)
