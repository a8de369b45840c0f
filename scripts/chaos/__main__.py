"""`python -m scripts.chaos`: train every optimizer under faults, and print the table of `docs/faults.md`."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from scripts.chaos.account import Account, frame
from scripts.chaos.page import summary, write
from scripts.chaos.scenes import Scene, play, scenes

PAGE = Path(__file__).parent.parent.parent / "docs" / "faults.md"


def main() -> None:
    """Carry out the disturbed runs, print their accounts, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m scripts.chaos", description=__doc__)
    parser.add_argument("--only", help="names of runs, separated by commas: adag,easgd,adag/nodes; all otherwise")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--output", type=Path, default=Path("results/chaos"), help="accounts are kept here")
    parser.add_argument("--page", action="store_true", help=f"write the table into {PAGE.name}")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    asked = [scene for scene in scenes(args.seed) if args.only is None or scene.name in args.only.split(",")]
    found = list(_accounts(asked, args.output / f"accounts-{args.seed}.jsonl"))
    print(frame(found).to_string(index=False))
    print("\n".join(summary(found)))
    if args.page:
        write(found, PAGE)
    if any(a.duplicated or a.lost or not a.identical for a in found):
        raise SystemExit("a commit was applied twice, or lost, or a run cannot be repeated")


def _accounts(asked: Sequence[Scene], kept: Path) -> Iterator[Account]:
    """Yield the account of each scene; play those that have none yet."""
    lines = kept.read_text().splitlines() if kept.is_file() else []
    earlier = {a.name: a for a in (Account(**json.loads(line)) for line in lines)}
    for scene in asked:
        if scene.name not in earlier:
            earlier[scene.name] = one = play(scene)
            with kept.open("a") as file:
                file.write(json.dumps(one._asdict()) + "\n")
            print(frame([one]).to_string(index=False), flush=True)
        yield earlier[scene.name]


if __name__ == "__main__":
    main()
