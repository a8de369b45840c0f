"""What makes two runs the same: their configuration and the code that computes them."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def fingerprint(plain: Mapping[str, Any]) -> str:
    """Return a hash of what decides a run's numbers: the configuration less where it is written, and the code.

    The order of keys does not matter; `output` and `name` do not count.
    """
    relevant = {key: value for key, value in plain.items() if key not in ("output", "name", "seeds")}
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode())
    digest.update(_code_hash())
    return digest.hexdigest()[:16]


@cache
def _code_hash() -> bytes:
    """Hash the package's sources that compute a run (not those that only read results)."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if not {"report", "metrics", "commands", "display.py"} & set(path.relative_to(root).parts):
            digest.update(path.read_bytes())
    return digest.digest()
