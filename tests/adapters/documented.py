"""The models that the documentation shows, as modules that can be imported."""

import re
from pathlib import Path
from typing import Any

import distopt
from distopt.config import compose
from distopt.runs.results import Run

PAGE = Path(__file__).parents[2] / "docs" / "own.md"
WRITTEN = r"^```python\n# (own_\w+)\.py\n(.*?)^```"
FRAMEWORKS = ("own_linen", "own_nnx", "own_equinox", "own_plain")


def write(folder: Path) -> list[str]:
    """Write the documented models into a folder as modules, each with a YAML in `conf/model`; return their names."""
    found = re.findall(WRITTEN, PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    (folder / "conf" / "model").mkdir(parents=True)
    for name, source in found:
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        settings = "width: 32\n" if "width" in source else ""
        (folder / "conf" / "model" / f"{name}.yaml").write_text(f"name: {name}:net\n{settings}", encoding="utf-8")
    return [name for name, _ in found]


def run(folder: Path, name: str, *overrides: Any) -> Run:
    """Run one of the models that were written into a folder."""
    given = [f"model={name}", "workers=2", "local=sgd", "local.learning_rate=0.1", "evaluate.points=2", *overrides]
    return distopt.run(compose([*given, f"output={folder / 'runs'}"], str(folder / "conf")))
