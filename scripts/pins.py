"""The exact versions that the tests run with: `python -m scripts.pins OLD NEW > constraints.txt`.

OLD and NEW are interpreters of two environments with `.[dev]` installed: the oldest Python that is supported, and the
newest with the newest releases. Where they have different versions, the line says which Python it is for.
"""

import argparse
import subprocess
import sys
from pathlib import Path

NOT_PINNED = {"distopt", "pip", "setuptools", "wheel"}
HEAD = """# The exact versions that the tests run with. `python -m scripts.pins OLD NEW` writes this file.
"""


def versions(python: Path) -> dict[str, str]:
    """Return the packages of an environment with their versions."""
    command = [str(python), "-m", "pip", "list", "--format=freeze", "--exclude-editable"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    pairs = [line.split("==") for line in listed]
    return {name: version for name, version in pairs if name.lower() not in NOT_PINNED}


def minor(python: Path) -> str:
    """Return the version of an interpreter, such as `3.13`."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def merged(old: dict[str, str], new: dict[str, str], border: str) -> list[str]:
    """Return one line per package, two where the versions differ: below the Python `border`, and from it on."""
    lines = []
    for name in sorted(old.keys() | new.keys(), key=str.lower):
        if old.get(name) == new.get(name):
            lines.append(f"{name}=={old[name]}")
            continue
        for found, sign in ((old, "<"), (new, ">=")):
            if name in found:
                lines.append(f'{name}=={found[name]} ; python_version {sign} "{border}"')
    return lines


def main() -> int:
    """Print the pins of two environments."""
    parser = argparse.ArgumentParser(prog="python -m scripts.pins", description=__doc__)
    parser.add_argument("old", type=Path, help="interpreter of the environment with the oldest Python")
    parser.add_argument("new", type=Path, help="of the one with the newest Python and the newest releases")
    parser.add_argument("--border", default="3.12", help="the first Python that takes the newest releases")
    given = parser.parse_args()
    old, border, new = (
        [int(part) for part in word.split(".")] for word in (minor(given.old), given.border, minor(given.new))
    )
    if not old < border <= new:
        parser.error(f"OLD has to be below Python {given.border}, NEW not")
    print(HEAD + "\n".join(merged(versions(given.old), versions(given.new), given.border)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
